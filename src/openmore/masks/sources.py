"""Where clips for mask extraction come from: scene folders, posed data sets, plain pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from openmore.errors import InputError
from openmore.masks.clip import MaskClip, clip_from_frames, clip_from_pictures, clip_from_sample

Shape = tuple[int, int]  # (H, W) of the source's frames, pixels


def is_scene(source: str | Path) -> bool:
    """Whether `source` is a scene folder."""
    return "://" not in str(source) and (Path(source) / "scene.json").is_file()


def from_scene(scene: Path) -> tuple[MaskClip, Shape]:
    """A scene folder with its own cameras and depth. Raises DataError or InputError when it lacks something."""
    from openmore.io.scene import read_scene

    recon = read_scene(scene)
    return clip_from_frames(list(recon.frames), scene.name, f"reconstruction {scene.name}"), recon.info.original_shape


def from_dataset(
    name: str, root: str, sequence: str | None = None, stride: int = 1, max_frames: int | None = None
) -> tuple[MaskClip, Shape]:
    """A sequence of posed data with depth (see openmore.data.datasets); `sequence` None takes the only one."""
    from openmore.data.datasets.registry import open_dataset

    data = open_dataset(name, root)
    names = data.names()
    if sequence is None and len(names) != 1:
        raise InputError(f"{root} has {len(names)} sequences: choose one with --sequence, for example {names[0]}")
    sequence = sequence or names[0]
    sample = data.load(sequence, data.frame_ids(sequence)[::stride][:max_frames])
    return clip_from_sample(sample), sample.shape


def from_pictures(source: str, **sampling: Any) -> tuple[MaskClip, Shape]:
    """A video, folder or glob without geometry; `sampling` as in `openmore.io.frames.frames`."""
    from openmore.io.frames import frames

    images = [frame.image for frame in frames(source, **sampling)]
    return clip_from_pictures(images, Path(source).stem or source), images[0].shape[:2]
