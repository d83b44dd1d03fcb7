"""Benchmarks by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from openmore.errors import ConfigError
from openmore.evaluation.protocols import clips, co3d, davis, depth, pose, synthetic
from openmore.evaluation.protocols.base import Benchmark

BUILDERS: dict[str, Callable[..., Any]] = {
    "sintel-pose": pose.sintel_pose,
    "tum-pose": pose.tum_pose,
    "bonn-pose": pose.bonn_pose,
    "scannet-pose": pose.scannet_pose,
    "sintel-depth": depth.sintel_depth,
    "sintel-depth-14": lambda **options: depth.sintel_depth(14, **options),
    "bonn-depth": depth.bonn_depth,
    "kitti-depth": depth.kitti_depth,
    "tum-depth": depth.tum_depth,
    "co3d": co3d.Co3DPose,
    "davis": davis.DavisMasks,
    "synthetic": synthetic.Synthetic,
    "clips": clips.Clips,
}


def benchmark(name: str, **options: Any) -> Benchmark:
    """The benchmark called `name`. Raises ConfigError for an unknown name or option."""
    if name not in BUILDERS:
        raise ConfigError(f"benchmark {name!r} is unknown: choose one of {', '.join(BUILDERS)}")
    try:
        return BUILDERS[name](**options)
    except TypeError as error:
        raise ConfigError(f"benchmark {name}: {error}") from error
