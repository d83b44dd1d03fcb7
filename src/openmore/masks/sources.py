"""Where clips for mask extraction come from: scene folders, posed data sets, plain pictures.

Choices
- Pictures are shrunk one by one as they are decoded: a minute of 1080p at full size would fill the memory.
- A source without an end (camera, live stream) is refused unless the number of frames is given.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from openmore.errors import InputError
from openmore.io.selection import Selection
from openmore.masks.clip import (
    MaskClip,
    Origin,
    Shape,
    clip_from_pictures,
    clip_from_reconstruction,
    clip_from_sample,
    fit_clip,
    fit_picture,
)

log = logging.getLogger(__name__)


def is_scene(source: str | Path) -> bool:
    """Whether `source` is a scene folder."""
    return "://" not in str(source) and (Path(source) / "scene.json").is_file()


def open_clip(
    source: str,
    dataset: str | None = None,
    sequence: str | None = None,
    long_side: int | None = None,
    **sampling: Any,
) -> tuple[MaskClip, Shape]:
    """Whatever `source` is: a scene folder, the root of the posed data set `dataset`, or plain pictures.

    Returns the clip, its longer side at most `long_side` pixels, and (H, W) of the source's frames, pixels.
    `sampling` as in `openmore.io.frames.frames`; scene folders and data sets know `stride` and `max_frames` only.
    Raises InputError for sampling that the kind of source does not know, ConfigError for impossible values.
    """
    given = {name: value for name, value in sampling.items() if value is not None}
    selection = Selection(**given)
    if dataset is None and not is_scene(source):
        return from_pictures(source, selection, long_side)
    odd = [name for name in given if name not in ("stride", "max_frames")]
    if odd:
        raise InputError(f"{odd[0]} applies to plain videos and pictures only: use stride or max_frames")
    found = (
        from_scene(Path(source), selection) if dataset is None else from_dataset(dataset, source, sequence, selection)
    )
    return fit_clip(found[0], long_side), found[1]


def from_scene(scene: Path, selection: Selection = Selection()) -> tuple[MaskClip, Shape]:
    """A scene folder with its own cameras and depth. Raises DataError or InputError when it lacks something."""
    from openmore.io.scene import read_scene

    recon = read_scene(scene)
    source = f"reconstruction {scene.name}"
    clip = clip_from_reconstruction(recon, scene.name, source, selection.stride, selection.max_frames)
    return clip, recon.info.original_shape


def from_dataset(
    name: str, root: str, sequence: str | None = None, selection: Selection = Selection()
) -> tuple[MaskClip, Shape]:
    """A sequence of posed data with depth (see openmore.data.datasets); `sequence` None takes the only one."""
    from openmore.data.datasets.registry import open_dataset

    data = open_dataset(name, root)
    names = data.names()
    if sequence is None and len(names) != 1:
        raise InputError(f"{root} has {len(names)} sequences: choose one with --sequence, for example {names[0]}")
    sequence = sequence or names[0]
    sample = data.load(sequence, data.frame_ids(sequence)[:: selection.stride][: selection.max_frames])
    return clip_from_sample(sample), sample.shape


def from_pictures(
    source: str, selection: Selection = Selection(), long_side: int | None = None
) -> tuple[MaskClip, Shape]:
    """A video, folder or glob without geometry. Raises InputError for a live source without `max_frames`."""
    from openmore.io.frames import open_source, walk

    reader = open_source(source)
    if selection.max_frames is None and reader.info.is_live:
        reader.close()
        raise InputError(f"{reader.label} has no end: say how many frames to take with --max-frames")
    images: list[np.ndarray] = []
    origins: list[Origin] = []
    skipped: list[dict[str, Any]] = []
    shape = (0, 0)

    def on_skip(index: int, reason: str) -> None:
        log.warning("frame %d skipped: %s", index, reason)
        skipped.append({"index": index, "reason": reason})

    for frame in walk(reader, selection, on_skip):
        images.append(fit_picture(frame.image, long_side))
        origins.append(Origin(frame.index, frame.name))
        shape = frame.original_shape
    return clip_from_pictures(images, Path(source).stem or source, origins, skipped), shape
