"""The camera path as TUM text: `time tx ty tz qx qy qz qw`, world_from_camera, OpenCV axes, seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from openmore.export.cameras import frame_times
from openmore.io.trajectories import Trajectory, write_tum
from openmore.progress import ProgressCallback, silent
from openmore.types import Reconstruction


def write(recon: Reconstruction, path: Path, *, progress: ProgressCallback = silent) -> None:
    """Write one line per frame with the source's time stamps."""
    write_tum(path, Trajectory(np.asarray(frame_times(recon), np.float64), recon.world_from_cam))
    progress("trajectory", len(recon), len(recon))
