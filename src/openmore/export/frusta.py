"""Camera pyramids, shared by the exports and the viewers. Their size follows the camera path, within bounds."""

from __future__ import annotations

import numpy as np

from openmore.types import Camera

_EDGES = [(0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (2, 3), (3, 4), (4, 1)]


def frustum_size(cameras: list[Camera]) -> float:
    """Depth of the drawn pyramids in scene units: a fraction of the path's extent, within bounds of the unit scale."""
    centers = np.stack([camera.center for camera in cameras])
    return float(np.clip(0.1 * np.ptp(centers, 0).max(), 0.02, 0.15))


def frustum_lines(cameras: list[Camera], size: float | None = None) -> np.ndarray:
    """[S, 16, 3] float32: eight line segments per camera, world coordinates."""
    size = frustum_size(cameras) if size is None else size
    return np.stack([_corners(camera, size)[np.ravel(_EDGES)] for camera in cameras]).astype(np.float32)


def _corners(camera: Camera, size: float) -> np.ndarray:
    """[5, 3]: the centre and the four image corners at depth `size`."""
    w, h = camera.width, camera.height
    pixels = np.array([[0, 0, 1], [w, 0, 1], [w, h, 1], [0, h, 1]], float)
    corners = np.vstack((np.zeros(3), pixels @ np.linalg.inv(camera.K).T * size))
    return corners @ camera.world_from_cam[:3, :3].T + camera.center
