"""From the network's tensors to what people read: cameras, depth, masks as numpy, one frame at a time.

Choices
- The world is the first frame's camera by definition: whatever the network says of frame 0 is divided out, once.
- Intrinsics come back in pixels of the original frame; the dense arrays stay at model resolution.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from openmore.geometry.pose_code import decode_pose
from openmore.geometry.rigid import invert
from openmore.io.frames import Frame
from openmore.io.sizing import Sizing
from openmore.model.more import RawOutput
from openmore.types import Camera, FramePrediction


def to_images(pictures: Sequence[np.ndarray]) -> Tensor:
    """uint8 pictures [h, w, 3] of one size -> network input [1, S, 3, h, w] float32 in 0..1."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)[None].float() / 255


def decode_cameras(codes: Tensor, sizing: Sizing, world_from_first: Tensor | None = None) -> list[Camera]:
    """Pose codes [S, 9] -> cameras with intrinsics of the original frames.

    `world_from_first` [4, 4] is the raw pose of frame 0 (`raw_world_from_cam`); default: the first code given.
    """
    cam_from_world, K = decode_pose(codes.cpu().double(), sizing.model_shape)
    raw = invert(cam_from_world)
    origin = raw[0] if world_from_first is None else world_from_first
    height, width = sizing.original_shape
    return [
        Camera(pose.numpy(), np.asarray(sizing.K_to_original(k.numpy())), width, height)
        for pose, k in zip(invert(origin) @ raw, K)
    ]


def raw_world_from_cam(code: Tensor) -> Tensor:
    """[9] -> [4, 4] float64: the camera in the network's own world, before frame 0 is made the origin."""
    return invert(decode_pose(code.cpu().double(), (1, 1))[0])


def to_predictions(
    raw: RawOutput,
    frames: Sequence[Frame],
    pictures: Sequence[np.ndarray],
    sizing: Sizing,
    world_from_first: Tensor | None = None,
) -> list[FramePrediction]:
    """The outputs of one clip (batch 1) as one prediction per frame. Needs the camera and depth outputs."""
    cameras = decode_cameras(raw.pose_codes[-1][0], sizing, world_from_first)
    depth, confidence = _numpy(raw.depth), _numpy(raw.depth_conf)
    motion = None if raw.motion_logits is None else _numpy(raw.motion_logits.sigmoid())
    points = None if raw.points is None else _numpy(raw.points)
    return [
        FramePrediction(
            index=frame.index,
            time_s=frame.time_s,
            camera=cameras[i],
            depth=depth[i],
            confidence=confidence[i],
            motion=None if motion is None else motion[i],
            rgb=pictures[i],
            points=None if points is None else points[i],
        )
        for i, frame in enumerate(frames)
    ]


def _numpy(x: Tensor | None) -> np.ndarray:
    assert x is not None, "the camera and depth outputs are always asked for"
    return x[0].float().cpu().numpy()
