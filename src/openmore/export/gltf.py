"""A small binary glTF 2.0 writer: point and line meshes, nodes, cameras, animations. Nothing else.

Choices
- Buffers go to disk as they are added; only the JSON is kept, so memory does not grow with the scene.
- Vertex colours in glTF are LINEAR. Raw sRGB bytes, as is common, look washed out in every conforming viewer. They are
  stored as floats: linear bytes band in the dark, and some readers (trimesh) cut 16-bit colours to their low byte.
- Materials are unlit: the colours are photographs.
"""

from __future__ import annotations

import json
import struct
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from openmore.export.colours import linear_from_srgb

POINTS, LINES = 0, 1
_FLOAT = 5126
_VERTEX_TARGET = 34962
_GLB_LIMIT = 2**32 - 1  # the container counts bytes in 32 bits


class GlbWriter:
    """Collects a scene and writes it with `save`. Node and mesh arguments are glTF JSON properties."""

    def __init__(self, generator: str):
        self._json: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": generator},
            "scene": 0,
            "extensionsUsed": ["KHR_materials_unlit"],
            "materials": [{"name": "unlit", "extensions": {"KHR_materials_unlit": {}}}],
        }
        self._buffer = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the writer

    def add(self, kind: str, **properties: Any) -> int:
        """Append an object to a top-level list ("nodes", "cameras", ...) and return its index."""
        items = self._json.setdefault(kind, [])
        items.append(properties)
        return len(items) - 1

    def accessor(self, values: np.ndarray, *, vertex: bool = False, bounds: bool = False) -> int:
        """Store [N] or [N, C] as float32 and return the accessor's index."""
        data = np.ascontiguousarray(values, np.float32)
        kind = "SCALAR" if data.ndim == 1 else f"VEC{data.shape[1]}"
        view: dict[str, Any] = {"buffer": 0, "byteOffset": self._buffer.tell(), "byteLength": data.nbytes}
        if vertex:
            view["target"] = _VERTEX_TARGET
        self._buffer.write(data.data)
        properties: dict[str, Any] = {"componentType": _FLOAT, "count": len(data), "type": kind}
        if bounds:
            rows = data.reshape(len(data), -1)
            properties |= {"min": rows.min(0).tolist(), "max": rows.max(0).tolist()}
        return self.add("accessors", bufferView=self.add("bufferViews", **view), **properties)

    def mesh(self, name: str, xyz: np.ndarray, rgb: np.ndarray, mode: int) -> int:
        """Points or lines: xyz [N, 3], rgb uint8 sRGB [N, 3]."""
        attributes = {
            "POSITION": self.accessor(xyz, vertex=True, bounds=True),
            "COLOR_0": self.accessor(linear_from_srgb(rgb), vertex=True),
        }
        return self.add("meshes", name=name, primitives=[{"attributes": attributes, "mode": mode, "material": 0}])

    def animate(
        self, animation: dict[str, list], node: int, path: str, times: np.ndarray, values: np.ndarray, how: str
    ) -> None:
        """Add a channel to `animation` ({"channels": [], "samplers": []}); `how` is STEP or LINEAR."""
        sampler = {
            "input": self.accessor(times, bounds=True),
            "output": self.accessor(values),
            "interpolation": how,
        }
        animation["channels"].append({"sampler": len(animation["samplers"]), "target": {"node": node, "path": path}})
        animation["samplers"].append(sampler)

    def save(self, path: Path) -> None:
        """Write the file. Raises ValueError beyond 4 GiB, which the container cannot express."""
        size = self._buffer.tell()
        self._json["buffers"] = [{"byteLength": size}]
        text = json.dumps(self._json, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        padding = -size % 4
        total = 12 + 8 + len(text) + 8 + size + padding
        if total > _GLB_LIMIT:
            raise ValueError(f"{total} bytes do not fit a GLB file")
        self._buffer.seek(0)
        with path.open("wb") as file:
            file.write(struct.pack("<4sII", b"glTF", 2, total))
            file.write(struct.pack("<I4s", len(text), b"JSON") + text)
            file.write(struct.pack("<I4s", size + padding, b"BIN\0"))
            while block := self._buffer.read(1 << 20):
                file.write(block)
            file.write(b"\0" * padding)
        self._buffer.close()
