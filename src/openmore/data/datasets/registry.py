"""Data sets by name. A reader is imported when it is opened.

Choices
- Options of a reader may stand behind its folder, as in `clips?depth_scale=1000&fill_missing=true`: so they reach it
  through every command and setting that takes a folder. A folder that is really called so is taken as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from openmore.checks import named_values
from openmore.data.datasets.base import FrameDataset
from openmore.errors import ConfigError


@dataclass(frozen=True)
class Entry:
    """Where a reader is and what a user must know before downloading."""

    target: str  # module:class inside openmore.data.datasets
    licence: str  # as stated by the authors; [M] recalled, check it
    use: str  # "train", "evaluate" or "own" footage


REGISTRY: dict[str, Entry] = {
    "dynamic_replica": Entry("dynamic_replica:DynamicReplica", "CC BY-NC (click-through)", "train"),
    "point_odyssey": Entry("point_odyssey:PointOdyssey", "CC BY-NC-SA 4.0", "train"),
    "spring": Entry("spring:Spring", "CC BY 4.0 [M]", "train"),
    "vkitti2": Entry("vkitti2:VKITTI2", "CC BY-NC-SA 3.0 [M]", "train"),
    "tartanair": Entry("tartanair:TartanAir", "CC BY 4.0 [M]", "train"),
    "omniworld": Entry("omniworld:OmniWorld", "CC BY-NC-SA 4.0, research only", "train"),
    "co3d": Entry("co3d:Co3D", "CC BY-NC 4.0", "train"),
    "scannet": Entry("scannet:ScanNet", "ScanNet terms of use, non-commercial", "train"),
    "blendedmvs": Entry("blendedmvs:BlendedMVS", "CC BY 4.0 [M]", "train"),
    "hypersim": Entry("hypersim:Hypersim", "CC BY-SA 3.0", "train"),
    "arkitscenes": Entry("arkitscenes:ARKitScenes", "CC BY-NC-SA 4.0 [M]", "train"),
    "waymo": Entry("waymo:Waymo", "Waymo dataset licence, non-commercial", "train"),
    "sintel": Entry("sintel:Sintel", "research use; film CC BY 3.0", "evaluate"),
    "tum": Entry("tum:TUM", "CC BY 4.0", "evaluate"),
    "bonn": Entry("tum:Bonn", "see the authors' page", "evaluate"),
    "kitti_depth": Entry("kitti:KittiDepth", "CC BY-NC-SA 3.0", "evaluate"),
    "kitti_odometry": Entry("kitti:KittiOdometry", "CC BY-NC-SA 3.0", "evaluate"),
    "co3d_benchmark": Entry("co3d:Co3DBenchmark", "CC BY-NC 4.0", "evaluate"),
    "davis": Entry("davis:Davis", "CC BY-NC 4.0 [M]", "evaluate"),
    "posed_folder": Entry("posed_folder:PosedFolder", "your own", "own"),
    "colmap": Entry("colmap:Colmap", "your own", "own"),
    "nerfstudio": Entry("nerfstudio:Nerfstudio", "your own", "own"),
}


def open_dataset(name: str, root: str | Path, **options: Any) -> FrameDataset:
    """The data set called `name` at `root`, which may be FOLDER?NAME=VALUE&NAME=VALUE; options go to the reader.

    Raises ConfigError for an unknown name or option and DataError when the folder is not what it should be.
    """
    if name not in REGISTRY:
        raise ConfigError(f"data set {name!r} is unknown: choose one of {', '.join(REGISTRY)}")
    module, _, cls = REGISTRY[name].target.partition(":")
    reader = getattr(import_module(f"openmore.data.datasets.{module}"), cls)
    folder, words = split_root(root)
    behind = named_values(words, "reader option", "split=valid")
    try:
        return reader(folder, **options, **behind)
    except TypeError as error:
        raise ConfigError(f"data set {name!r}: {error}") from error


def split_root(root: str | Path) -> tuple[Path, list[str]]:
    """The folder, and the `NAME=VALUE` words that stand behind it."""
    folder, question, words = str(root).rpartition("?")
    return (Path(folder), words.split("&")) if question and not Path(root).exists() else (Path(root), [])
