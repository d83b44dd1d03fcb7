"""One coloured point cloud as binary PLY: the static world and the movers of one frame.

Choices
- A PLY has no time: `frame` chooses whose movers are in it (default: the middle one), "all" takes everyone's.
- Besides colour, every point carries confidence, moving probability and frame: MeshLab and CloudCompare show and
  filter them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from openmore.errors import InputError
from openmore.export.cloud import join
from openmore.export.points import PointOptions, gather
from openmore.io.ply import write_ply
from openmore.progress import ProgressCallback, silent
from openmore.types import Reconstruction

COMMENTS = ("openmore", "axes x right, y down, z forward; world = first camera; motion = moving probability")


def write(
    recon: Reconstruction,
    path: Path,
    *,
    points: PointOptions = PointOptions(),
    frame: int | str = "middle",
    progress: ProgressCallback = silent,
) -> None:
    """Write the cloud. `frame`: position in the scene, "middle" or "all". Raises InputError for another one."""
    shown = _frames_shown(frame, len(recon))
    cloud = gather(recon, points, progress)
    rows = join([cloud.static, *(cloud.movers[i] for i in shown)])
    columns = {"confidence": rows["confidence"], "motion": rows["motion"] / np.float32(255), "frame": rows["frame"]}
    write_ply(path, rows["xyz"], rows["rgb"], columns, COMMENTS)


def _frames_shown(frame: int | str, count: int) -> range:
    if frame == "all":
        return range(count)
    number = count // 2 if frame == "middle" else frame
    if not isinstance(number, int) or not 0 <= number < count:
        raise InputError(f"frame={frame!r} is not in the scene: give 0 to {count - 1}, 'middle' or 'all'")
    return range(number, number + 1)
