"""Dynamic Replica: animated people and animals in scanned rooms, stereo video at 30 fps.

Layout: `{train,valid,test}/frame_annotations_<split>.jgz`, paths in it relative to the split folder.
Choices
- Left eye only: the right one repeats every moment. Frames are sorted by time stamp as a number.
- Depth: float16 bits in a 16-bit PNG, metres.
- `mask` is people and animals, not motion. They nearly always move, but nearly is unknown: foreground is 255 and the
  background 0, unless `foreground_moves` takes it as moving. Instance ids are passed on for the ego-flow test.
- Optical flow (`flow=True`) is read as two channels of float16 bits in a 16-bit PNG, u in red and v in green, valid
  where its mask is [recalled, so off by default; see what the data check says]. Ends of a sequence have none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from openmore.data.datasets import decode
from openmore.data.datasets.base import FrameDataset, Index, Pixels
from openmore.data.datasets.implicitron import NORM_BOUNDS, intrinsics_of, world_from_cam_of
from openmore.errors import DataError


class DynamicReplica(FrameDataset):
    """One split of Dynamic Replica."""

    name = "dynamic_replica"
    is_metric = True
    knows = ("cameras", "intrinsics", "depth", "motion")
    recalled: ClassVar[dict[str, str]] = {
        "flow, with flow=True: float16 bits, red horizontal, green vertical": "flow is off by as much as pictures move",
    }

    def __init__(
        self,
        root: str | Path,
        *,
        split: str = "train",
        foreground_moves: bool = False,
        flow: bool = False,
        threads: int = 1,
    ):
        super().__init__(root, threads=threads)
        self.split, self.foreground_moves, self.flow = split, foreground_moves, flow
        self._sequences: dict[str, list[dict[str, Any]]] | None = None

    @property
    def sequences(self) -> dict[str, list[dict[str, Any]]]:
        """Annotations of the left eye by sequence, in time order."""
        if self._sequences is None:
            path = self.root / self.split / f"frame_annotations_{self.split}.jgz"
            found: dict[str, list[dict[str, Any]]] = {}
            for entry in decode.read_json(path):
                if entry.get("camera_name", "left") == "left":
                    found.setdefault(entry["sequence_name"], []).append(entry)
            if not found:
                raise DataError(f"{path} annotates no left frame: an empty or wrong file")
            for entries in found.values():
                entries.sort(key=lambda entry: float(entry["frame_timestamp"]))
            self._sequences = found
        return self._sequences

    def names(self) -> list[str]:
        """Annotated sequences whose pictures are on disk (the download comes in 86 parts)."""
        folder = self.root / self.split
        here = [name for name, e in self.sequences.items() if (folder / e[0]["image"]["path"]).is_file()]
        if not here:
            raise DataError(f"{folder} holds none of the {len(self.sequences)} annotated sequences: unpack some parts")
        return sorted(here)

    def read_index(self, sequence: str) -> Index:
        entries = self.sequences[sequence]
        K = [
            intrinsics_of(
                e["viewpoint"]["focal_length"],
                e["viewpoint"]["principal_point"],
                e["viewpoint"].get("intrinsics_format", NORM_BOUNDS),
                tuple(e["image"]["size"]),
            )
            for e in entries
        ]
        return Index(
            [int(e["frame_number"]) for e in entries],
            np.array([float(e["frame_timestamp"]) for e in entries]),
            np.stack([world_from_cam_of(e["viewpoint"]) for e in entries]),
            np.stack(K),
            [self.root / self.split / e["image"]["path"] for e in entries],
        )

    def read_pixels(self, sequence: str, index: Index, i: int) -> Pixels:
        entry, folder = self.sequences[sequence][i], self.root / self.split
        depth = decode.read_float16_bits(folder / entry["depth"]["path"])
        foreground = decode.read_labels(folder / entry["mask"]["path"]) > 127
        motion = np.where(foreground, 1 if self.foreground_moves else 255, 0).astype(np.uint8)
        ids = entry.get("instance_id_map_path")
        instances = decode.read_labels(folder / ids).astype(np.int32) if ids else None
        flows = [self._flow(entry, way) for way in ("flow_forward", "flow_backward")] if self.flow else [None, None]
        return Pixels(decode.read_rgb(index.files[i]), depth, motion, instances, None, *flows)

    def _flow(self, entry: dict[str, Any], way: str) -> np.ndarray | None:
        """[2, H, W] pixels, NaN where the mask says so; None where the annotation names no file."""
        folder, path = self.root / self.split, (entry.get(way) or {}).get("path")
        if not path:
            return None
        flow = decode.read_float16_flow(folder / path)
        mask = (entry.get(f"{way}_mask") or {}).get("path")
        if mask:
            flow[:, decode.read_labels(folder / mask) <= 127] = np.nan
        return flow
