"""Peak memory of this process (Linux) and the time it spends inside matrix products."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

ATTENTION = ("aten::scaled_dot_product_attention", "aten::matmul", "aten::exp2_", "aten::sum")
PRODUCTS = (*ATTENTION, "aten::linear", "mkldnn::_linear_pointwise", "aten::conv2d", "aten::conv_transpose2d")


class KernelClock(TorchDispatchMode):
    """Adds up the seconds inside the operators named, for a forward pass in inference mode that runs under it.

    (Elsewhere torch takes these operators apart before they get here.)
    """

    def __init__(self, names: Collection[str]):
        super().__init__()
        self.names, self.seconds, self.processor_s = frozenset(names), 0.0, 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        begun, begun_cpu = time.perf_counter(), time.process_time()
        result = func(*args, **(kwargs or {}))
        if func.name().split(".")[0] in self.names:
            self.seconds += time.perf_counter() - begun
            self.processor_s += time.process_time() - begun_cpu
        return result


def forget_peak() -> int:
    """Let the peak of resident memory begin here; returns what is resident, in bytes.

    What was freed goes back to the system first: what comes after would hide in it.
    """
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def peak_bytes() -> int:
    """Peak of resident memory since then."""
    return _status("VmHWM")


def _status(key: str) -> int:
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(key))
    return int(line.split()[1]) * 1024
