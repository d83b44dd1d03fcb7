"""Work over the frames of a clip on several threads, its results in order.

NumPy and OpenCV let go of Python's lock inside their loops, so threads pay where a frame is a few hundred such calls;
processes would have to be sent the pictures.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST = 4  # threads; beyond that Python's lock is what they wait for


def thread_count() -> int:
    """Threads a clip may use: PyTorch's, which follow OMP_NUM_THREADS and the machine, at most MOST."""
    import torch

    return max(1, min(MOST, torch.get_num_threads()))


def in_order(work: Callable[[Item], Result], items: Iterable[Item], threads: int | None = None) -> Generator[Result]:
    """`work(item)` of every item, in order; `threads` of them at a time (None: `thread_count`).

    Items are taken by the calling thread and no more than `threads` ahead, so a stream of pictures stays bounded. With
    one thread nothing is started. What `work` raises is raised here, at its item.
    """
    threads = thread_count() if threads is None else threads
    if threads < 2:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[Future[Result]] = deque()
        try:
            for item in items:
                ahead.append(pool.submit(work, item))
                if len(ahead) > threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()
