"""A Sample on disk, and back without losing a bit.

    rgb/%06d.png  depth/%06d.npy  motion/%06d.png  instances/%06d.npy  sky/%06d.png  valid/%06d.png
    flow_forward/%06d.npy  flow_backward/%06d.npy  poses.txt  intrinsics.txt  meta.json  preview.mp4

Choices
- Lossless formats everywhere; `meta.json` holds cameras and times with every digit of a float64.
- `poses.txt` (TUM text) and `intrinsics.txt` say the same to tools that expect a plain posed folder; reading here
  does not use them.
- The folder appears whole or not at all. `preview.mp4` is for people.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from openmore.data.sample import Sample
from openmore.errors import DataError
from openmore.io.atomic import atomic_folder, write_json, write_text
from openmore.io.output import Kind, numbered

FORMAT = "openmore-sample-1"
_PNG = {"images": "rgb", "motion": "motion", "sky": "sky", "valid": "valid"}
_NPY = ("depth", "instances", "flow_forward", "flow_backward")
SAMPLE = Kind(
    "a synthetic sequence",
    marks=("meta.json",),
    parts=(
        *(pattern for name in _PNG.values() for pattern in numbered(f"{name}/{{}}.png")),
        *(pattern for name in _NPY for pattern in numbered(f"{name}/{{}}.npy")),
        *"poses.txt intrinsics.txt preview.mp4".split(),
    ),
)


def write_sample(
    sample: Sample, folder: str | Path, *, overwrite: bool = False, preview_fps: float | None = None
) -> Path:
    """Write one clip. `preview_fps` adds preview.mp4 at that rate.

    Raises InputError when the folder exists (with `overwrite`: and is no such clip) or cannot be written.
    """
    from PIL import Image

    sample.check()
    with atomic_folder(Path(folder), SAMPLE, overwrite) as root:
        arrays = sample.arrays()
        for key, value in arrays.items():
            if key in _PNG:
                image = value.astype(np.uint8) * 255 if value.dtype == np.bool_ else value
                _each(root / _PNG[key], ".png", image, lambda path, frame: Image.fromarray(frame).save(path))
            elif key in _NPY:
                _each(root / key, ".npy", value, np.save)
        write_json(root / "meta.json", _meta(sample))
        write_text(root / "poses.txt", _tum(sample))
        write_text(root / "intrinsics.txt", _intrinsics(sample))
        if preview_fps is not None:
            from openmore.io.video import write_video

            write_video(root / "preview.mp4", iter(sample.images), preview_fps)
    return Path(folder)


def read_sample(folder: str | Path) -> Sample:
    """Read what `write_sample` wrote. Raises DataError naming the missing or damaged file."""
    root = Path(folder)
    meta = _read_meta(root / "meta.json")
    frames = len(meta["times_s"])
    fields: dict[str, Any] = {}
    for key in meta["arrays"]:
        if key in _PNG:
            value = _stack(root / _PNG[key], ".png", frames, _read_png)
            fields[key] = value > 127 if key in ("sky", "valid") else value
        elif key in _NPY:
            fields[key] = _stack(root / key, ".npy", frames, _read_npy)
    for key in ("K", "world_from_cam", "times_s"):
        fields[key] = np.array(meta[key], dtype=np.float64)
    if meta["indices"] is not None:
        fields["indices"] = np.array(meta["indices"], dtype=np.int64)
    for key in ("name", "is_metric", "is_video"):
        fields[key] = meta[key]
    return Sample(**fields).check()


def _each(folder: Path, suffix: str, values: np.ndarray, write: Callable[[Path, np.ndarray], None]) -> None:
    folder.mkdir()
    for s, value in enumerate(values):
        write(folder / f"{s:06d}{suffix}", value)


def _meta(sample: Sample) -> dict[str, Any]:
    height, width = sample.shape
    return {
        "format": FORMAT,
        "name": sample.name,
        "width": width,
        "height": height,
        "is_metric": sample.is_metric,
        "is_video": sample.is_video,
        "arrays": [key for key in sample.arrays() if key in _PNG or key in _NPY],
        "indices": None if sample.indices is None else sample.indices.tolist(),
        "times_s": sample.times_s.tolist(),
        "K": sample.K.tolist(),
        "world_from_cam": sample.world_from_cam.tolist(),
    }


def _tum(sample: Sample) -> str:
    import torch

    from openmore.geometry.rotation import matrix_to_quaternion

    quaternions = matrix_to_quaternion(torch.from_numpy(sample.world_from_cam[:, :3, :3])).numpy()
    rows = np.concatenate((sample.times_s[:, None], sample.world_from_cam[:, :3, 3], quaternions), 1)
    lines = ["# timestamp tx ty tz qx qy qz qw (world_from_cam, OpenCV axes)"]
    return "\n".join(lines + [" ".join(f"{x:.9f}" for x in row) for row in rows]) + "\n"


def _intrinsics(sample: Sample) -> str:
    height, width = sample.shape
    K = sample.K[0]
    numbers = " ".join(f"{x:.6f}" for x in (K[0, 0], K[1, 1], K[0, 2], K[1, 2]))
    return (
        f"# fx fy cx cy width height (pixel centres at integer coordinates; first frame)\n{numbers} {width} {height}\n"
    )


def _read_meta(path: Path) -> dict[str, Any]:
    try:
        meta = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); expected a folder made by `openmore synth`") from error
    missing = {"format", "name", "arrays", "times_s", "K", "world_from_cam"} - set(meta)
    if missing or meta["format"] != FORMAT:
        raise DataError(f"{path}: is not {FORMAT} (missing: {', '.join(sorted(missing)) or 'nothing'}); write it again")
    return meta


def _stack(folder: Path, suffix: str, frames: int, read: Callable[[Path], np.ndarray]) -> np.ndarray:
    values = []
    for s in range(frames):
        path = folder / f"{s:06d}{suffix}"
        try:
            values.append(read(path))
        except (OSError, ValueError, EOFError) as error:
            reason = "is missing" if not path.exists() else f"is damaged ({error})"
            raise DataError(f"{path} {reason}: write the sequence again") from error
        if values[-1].shape != values[0].shape:
            raise DataError(f"{path} is {values[-1].shape}, frame 0 is {values[0].shape}: write the sequence again")
    return np.stack(values)


def _read_png(path: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as image:
        return np.array(image)


def _read_npy(path: Path) -> np.ndarray:
    return np.load(path, allow_pickle=False)
