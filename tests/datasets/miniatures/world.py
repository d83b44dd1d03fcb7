"""The scene every miniature shows: exact pictures, depth, motion and cameras, in house conventions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.scenes import camera, render


@dataclass(frozen=True)
class World:
    """Truth of a few frames. A miniature writes it in its own convention; its reader must give this back."""

    rgb: np.ndarray  # [S, H, W, 3] uint8
    depth: np.ndarray  # [S, H, W] float64, z
    moving: np.ndarray  # [S, H, W] bool
    world_from_cam: np.ndarray  # [S, 4, 4]
    K: np.ndarray  # [3, 3] integer pixel centres

    def __len__(self) -> int:
        return len(self.rgb)

    @property
    def cam_from_world(self) -> np.ndarray:
        return np.linalg.inv(self.world_from_cam)

    @property
    def shape(self) -> tuple[int, int]:
        return self.depth.shape[1], self.depth.shape[2]

    def flow(self, step: int) -> np.ndarray:
        """Flow of static surfaces [S, 2, H, W] to the frame `step` (+1 or -1) away; NaN at the end that has none."""
        out = np.full((len(self), 2, *self.shape), np.nan)
        v, u = np.mgrid[: self.shape[0], : self.shape[1]].astype(float)
        rays = np.stack((u, v, np.ones_like(u)), -1) @ np.linalg.inv(self.K).T
        for a in range(len(self)):
            if 0 <= a + step < len(self):
                b_from_a = self.cam_from_world[a + step] @ self.world_from_cam[a]
                points = (rays * self.depth[a][..., None]) @ b_from_a[:3, :3].T + b_from_a[:3, 3]
                pixels = points @ self.K.T
                out[a] = np.moveaxis(pixels[..., :2] / pixels[..., 2:] - np.stack((u, v), -1), -1, 0)
        return out


def make_world(shape: tuple[int, int] = (48, 64), frames: int = 4, K: np.ndarray | None = None) -> World:
    """Render the scene. The world frame is turned and shifted so that no reader can pass by ignoring it."""
    height, width = shape
    if K is None:
        K = np.array([[0.9 * width, 0, 0.48 * width], [0, 0.92 * width, 0.53 * height], [0, 0, 1.0]])
    cameras = [camera(i, shape) for i in range(frames)]
    rendered = [render(cam, K, shape, i) for i, cam in enumerate(cameras)]
    turn = np.array([[0, 0, 1, 0.5], [1, 0, 0, -2.0], [0, 1, 0, 1.5], [0, 0, 0, 1.0]])
    poses = turn @ np.stack([cam.world_from_cam for cam in cameras])
    rgb, depth, moving = (np.stack(values) for values in zip(*rendered))
    return World(rgb, depth, moving, poses, K)


def write_image(path: Path, image: np.ndarray) -> None:
    """PNG or JPEG from RGB, grey or 16-bit arrays."""
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    bgr = image[..., ::-1] if image.ndim == 3 else image
    options = [cv2.IMWRITE_JPEG_QUALITY, 98] if path.suffix == ".jpg" else []
    assert cv2.imwrite(str(path), bgr, options)


def write_rows(path: Path, rows: object, header: str = "") -> None:
    """A table of numbers, one row per line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [" ".join(repr(float(x)) if not isinstance(x, str) else x for x in row) for row in rows]  # type: ignore
    path.write_text("\n".join(([header] if header else []) + lines) + "\n")


def quaternions(poses: np.ndarray) -> np.ndarray:
    """x y z w of [S, 4, 4]."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_matrix(poses[:, :3, :3]).as_quat()


def float16_bits(depth: np.ndarray) -> np.ndarray:
    """Depth as the bit pattern of float16 in uint16 (Co3D, Dynamic Replica)."""
    return depth.astype(np.float16).view(np.uint16)
