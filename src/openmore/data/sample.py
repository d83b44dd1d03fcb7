"""What every data set and the synthetic world return: one clip with whatever truth it has.

Choices
- numpy, one array per kind of truth with the frames first; None means "this source does not say".
- Conventions are settled at the door: OpenCV axes, z-depth with 0 = no value, integer pixel centres
  (docs/conventions.md). Readers convert; nobody after them asks.
- Motion labels are 0 static, 1 moving, 255 unknown; unknown never enters a loss.
- Optical flow links neighbouring frames of the sample; the last forward and the first backward flow are all NaN.
- `world_from_cam` may be in any world; `relative_to_first` makes the first camera the world.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from openmore.errors import DataError
from openmore.types import UNKNOWN

_ROTATION_TOLERANCE = 1e-3  # pose files with 6 digits stay below it; scaled or sheared matrices do not


@dataclass
class Sample:
    """One clip of S frames of H x W pixels."""

    images: np.ndarray  # [S, H, W, 3] uint8, RGB
    depth: np.ndarray  # [S, H, W] float32, z in metres (scene units unless is_metric); 0 = no value
    K: np.ndarray  # [S, 3, 3] float64, pixels, pixel centres at integer coordinates
    world_from_cam: np.ndarray  # [S, 4, 4] float64, rigid, OpenCV axes
    times_s: np.ndarray  # [S] float64, seconds, increasing when is_video
    name: str  # data set and sequence, e.g. "synthetic/000042"
    motion: np.ndarray | None = None  # [S, H, W] uint8: 0 static, 1 the surface moves in the world, 255 unknown
    flow_forward: np.ndarray | None = None  # [S, 2, H, W] float32, pixels, frame s -> s + 1; NaN = invalid
    flow_backward: np.ndarray | None = None  # [S, 2, H, W] float32, pixels, frame s -> s - 1; NaN = invalid
    instances: np.ndarray | None = None  # [S, H, W] int32, one id per object, the same through the clip
    valid: np.ndarray | None = None  # [S, H, W] bool, depth can be trusted; None means depth > 0
    sky: np.ndarray | None = None  # [S, H, W] bool
    indices: np.ndarray | None = None  # [S] int64, number of each frame in its sequence; None means 0..S-1
    is_metric: bool = False  # one unit is one metre
    is_video: bool = True  # frames are in temporal order

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.images.shape[1], self.images.shape[2]

    @property
    def has_motion(self) -> bool:
        """Whether the source says what moves."""
        return self.motion is not None

    @property
    def valid_depth(self) -> np.ndarray:
        """[S, H, W] bool: where depth may be used."""
        return self.depth > 0 if self.valid is None else self.valid & (self.depth > 0)

    def frame_number(self, s: int) -> int:
        """The number of frame `s` in the sequence it was cut from, for messages."""
        return s if self.indices is None else int(self.indices[s])

    def select(self, frames: np.ndarray | list[int]) -> Sample:
        """The clip of the given frames, in the given order. Flow survives only if they follow one another."""
        picked = np.asarray(frames, dtype=np.int64)
        arrays = {key: value[picked] for key, value in self.arrays().items()}
        arrays["indices"] = np.array([self.frame_number(int(s)) for s in picked], dtype=np.int64)
        sample = replace(self, **arrays)
        if (np.diff(picked) != 1).any():
            sample.flow_forward = sample.flow_backward = None
            sample.is_video = self.is_video and bool((np.diff(picked) > 0).all())
        if sample.flow_forward is not None:
            sample.flow_forward[-1] = np.nan  # its target is no longer in the clip
        if sample.flow_backward is not None:
            sample.flow_backward[0] = np.nan
        return sample

    def relative_to_first(self) -> Sample:
        """The same clip with the first camera as the world."""
        return replace(self, world_from_cam=np.linalg.inv(self.world_from_cam[0]) @ self.world_from_cam)

    def arrays(self) -> dict[str, np.ndarray]:
        """Every per-frame array that is present, by field name."""
        return {key: value for key, value in vars(self).items() if isinstance(value, np.ndarray)}

    def check(self, min_valid: int = 0) -> Sample:
        """Return self if the clip keeps the contract.

        Args:
            min_valid: fewest pixels with depth that every frame must have; 0 accepts frames without depth.

        Raises:
            DataError: names the sequence and, where one frame is at fault, the frame.
        """
        self._check_arrays()
        for s in range(len(self)):
            problem = _frame_problem(self, s, min_valid)
            if problem:
                raise DataError(f"{self.name}, frame {self.frame_number(s)}: {problem}")
        if self.is_video and (np.diff(self.times_s) <= 0).any():
            s = int(np.argmax(np.diff(self.times_s) <= 0)) + 1
            raise DataError(f"{self.name}, frame {self.frame_number(s)}: its time stamp does not follow the one before")
        return self

    def _check_arrays(self) -> None:
        if self.images.ndim != 4 or self.images.shape[-1] != 3 or not len(self.images):
            raise DataError(f"{self.name}: images are {self.images.shape}, expected [S, H, W, 3] with S >= 1")
        s, sizes = len(self.images), {"H": self.shape[0], "W": self.shape[1]}
        for key, value in self.arrays().items():
            dtype, tail = _CONTRACT[key]
            expected = (s, *(sizes[n] if isinstance(n, str) else n for n in tail))
            if value.shape != expected or value.dtype != dtype:
                got = f"{value.dtype} {list(value.shape)}"
                raise DataError(f"{self.name}: {key} is {got}, expected {np.dtype(dtype).name} {list(expected)}")


_CONTRACT: dict[str, tuple[type, tuple[str | int, ...]]] = {
    "images": (np.uint8, ("H", "W", 3)),
    "depth": (np.float32, ("H", "W")),
    "K": (np.float64, (3, 3)),
    "world_from_cam": (np.float64, (4, 4)),
    "times_s": (np.float64, ()),
    "motion": (np.uint8, ("H", "W")),
    "flow_forward": (np.float32, (2, "H", "W")),
    "flow_backward": (np.float32, (2, "H", "W")),
    "instances": (np.int32, ("H", "W")),
    "valid": (np.bool_, ("H", "W")),
    "sky": (np.bool_, ("H", "W")),
    "indices": (np.int64, ()),
}


def _frame_problem(sample: Sample, s: int, min_valid: int) -> str | None:
    """What is wrong with frame `s`, or None."""
    camera, K, depth = sample.world_from_cam[s], sample.K[s], sample.depth[s]
    if not np.isfinite(camera).all():
        return "the camera (world_from_cam) is not finite: drop the frame or mend the pose file"
    R = camera[:3, :3]
    if np.abs(R @ R.T - np.eye(3)).max() > _ROTATION_TOLERANCE or np.linalg.det(R) < 0:
        return "the camera's rotation is not orthonormal with determinant 1: check the pose file's format"
    if not np.isfinite(K).all() or K[0, 0] <= 0 or K[1, 1] <= 0:
        return f"focal lengths are ({K[0, 0]:g}, {K[1, 1]:g}), expected finite and positive: check the intrinsics"
    if not np.isfinite(depth).all() or (depth < 0).any():
        return "depth holds NaN, infinite or negative values: readers must write 0 where there is no value"
    if min_valid and (count := int(sample.valid_depth[s].sum())) < min_valid:
        return f"only {count} pixels have depth, expected at least {min_valid}: drop the frame"
    if sample.motion is not None and not np.isin(sample.motion[s], (0, 1, UNKNOWN)).all():
        return "motion labels must be 0 (static), 1 (moving) or 255 (unknown)"
    return None
