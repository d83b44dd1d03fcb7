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


def open_clip(
    source: str, dataset: str | None = None, sequence: str | None = None, **sampling: Any
) -> tuple[MaskClip, Shape]:
    """Whatever `source` is: a scene folder, the root of the posed data set `dataset`, or plain pictures.

    `sampling` as in `openmore.io.frames.frames`; scene folders and data sets know `stride` and `max_frames` only.
    Raises InputError for sampling that the kind of source does not know.
    """
    given = {name: value for name, value in sampling.items() if value is not None}
    if dataset is None and not is_scene(source):
        return from_pictures(source, **given)
    odd = [name for name in given if name not in ("stride", "max_frames")]
    if odd:
        raise InputError(f"{odd[0]} applies to plain videos and pictures only: use stride or max_frames")
    return from_scene(Path(source), **given) if dataset is None else from_dataset(dataset, source, sequence, **given)


def from_scene(scene: Path, stride: int = 1, max_frames: int | None = None) -> tuple[MaskClip, Shape]:
    """A scene folder with its own cameras and depth. Raises DataError or InputError when it lacks something."""
    from openmore.io.scene import read_scene

    recon = read_scene(scene)
    frames = list(recon.frames)[::stride][:max_frames]
    return clip_from_frames(frames, scene.name, f"reconstruction {scene.name}"), recon.info.original_shape


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
