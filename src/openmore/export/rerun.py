"""A recording for the rerun viewer: static cloud, movers, camera with picture, depth and motion over time.

Choices
- Two time lines: `time` (seconds) and `frame`.
- Pictures are stored as JPEG; depth and motion at model resolution under the same pinhole.
- A .rrd opens in the rerun version that wrote it and the next minor one: it is for looking, not for keeping.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from openmore.errors import MissingExtra
from openmore.export.cameras import corner_K, timeline
from openmore.export.points import PointOptions, SceneCloud, gather
from openmore.progress import ProgressCallback, silent
from openmore.types import FramePrediction, Reconstruction


def write(
    recon: Reconstruction,
    path: Path,
    *,
    points: PointOptions = PointOptions(),
    depth: bool = True,
    progress: ProgressCallback = silent,
) -> None:
    """Write the recording; `depth=False` leaves the depth images out (they are most of the bytes)."""
    try:
        import rerun as rr
    except ImportError as error:
        raise MissingExtra("rerun-sdk", "rerun", "rerun export") from error
    cloud = gather(recon, points, progress)
    times = timeline(recon)
    recording = rr.RecordingStream("openmore", make_default=False, make_thread_default=False)
    recording.save(path)
    recording.log("world", rr.ViewCoordinates.RDF, static=True)
    recording.log("world/static", _points(cloud.static), static=True)
    centers = np.stack([camera.center for camera in recon.cameras])
    recording.log("world/path", rr.LineStrips3D([centers]), static=True)
    for number, frame in enumerate(recon.frames):
        recording.set_time("time", duration=float(times[number]))
        recording.set_time("frame", sequence=frame.index)
        _log_frame(recording, frame, cloud, number, depth)
        progress("recording", number + 1, len(recon))
    recording.flush()
    recording.disconnect()


def _points(cloud: np.ndarray) -> Any:
    import rerun as rr

    return rr.Points3D(cloud["xyz"], colors=cloud["rgb"])


def _log_frame(recording: Any, frame: FramePrediction, cloud: SceneCloud, number: int, depth: bool) -> None:
    import rerun as rr

    camera = frame.camera
    h, w = frame.shape
    recording.log("world/movers", _points(cloud.movers[number]))
    recording.log("world/camera", rr.Transform3D(translation=camera.center, mat3x3=camera.world_from_cam[:3, :3]))
    pinhole = rr.Pinhole(image_from_camera=corner_K(camera, frame.shape, frame.shape), resolution=[w, h])
    recording.log("world/camera/image", pinhole)
    if frame.rgb is not None:
        recording.log("world/camera/image/rgb", rr.EncodedImage(contents=_jpeg(frame.rgb), media_type="image/jpeg"))
    if depth:
        recording.log("world/camera/image/depth", rr.DepthImage(frame.depth, meter=1.0))
    if frame.motion is not None:
        moving = np.rint(frame.motion * 255).astype(np.uint8)
        recording.log("world/camera/image/motion", rr.Image(moving, "L"))


def _jpeg(rgb: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
