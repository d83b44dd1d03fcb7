"""Joining a Ray cluster, for batches and for evaluations."""

from __future__ import annotations

import os
from typing import Any

from openmore.errors import MissingExtra


def join_ray(workers: int, purpose: str) -> Any:
    """The ray module with ray.data, connected to the running cluster, to that of RAY_ADDRESS, or to one started here.

    A cluster started here has a core for each of `workers`, whatever the machine has. Raises MissingExtra without ray;
    `purpose` says what it was wanted for.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtra("ray", "scale", purpose) from error
    if not ray.is_initialized():
        ray.init(num_cpus=None if "RAY_ADDRESS" in os.environ else max(workers, os.cpu_count() or 1), logging_level=40)
    return ray
