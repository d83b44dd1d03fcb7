"""Run a job on this machine: in this process, or in worker processes that may die.

Choices
- At most one item per worker is in flight, so when a worker is killed (out of memory, a crash in native code) only
  those are suspects. Each suspect then runs alone: the one that kills its worker again has failed, the others finish.
- Workers are spawned, not forked: torch and OpenCV threads do not survive a fork.
- A job that is stopped stops its workers, which remove what they had half-written.
- A worker whose job is gone ends itself, or it would work on beside the job's next start.
- A task that cannot be set up (missing weights, wrong option) ends the job with that error: all would fail alike.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from openmore.scale.manifest import Item
from openmore.scale.work import Outcome, Runner, Task, process_one, use_threads

KILLED = "the worker was killed while processing this clip (out of memory, or a crash in native code)"


def run_local(items: Sequence[Item], out: Path, task: Task, workers: int = 1) -> Iterator[Outcome]:
    """Outcomes in the order they come. workers = 0 stays in this process."""
    if workers == 0:
        run = task.load()
        yield from (process_one(item, out, run) for item in items)
        return
    queue = list(items)
    while queue:
        suspects = []
        for item, outcome in _pool(queue, out, task, workers):
            if outcome is None:
                suspects.append(item)
            else:
                queue.remove(item)
                yield outcome
        for item in suspects:
            queue.remove(item)
            yield _alone(item, out, task)


def _pool(items: Sequence[Item], out: Path, task: Task, workers: int) -> Iterator[tuple[Item, Outcome | None]]:
    """Outcomes until all items are through or a worker dies; None marks the items in flight when one died."""
    waiting, running = iter(list(items)), dict[Future[Outcome], Item]()
    with _executor(task, workers) as pool:
        for item in waiting:
            try:
                running[pool.submit(_work, item, out)] = item
            except BrokenProcessPool:  # a worker died since the last look: this item has not begun
                break
            if len(running) == workers:
                yield from (results := _collect(running))
                if any(outcome is None for _, outcome in results):
                    break
        while running:
            yield from _collect(running)


def _collect(running: dict[Future[Outcome], Item]) -> list[tuple[Item, Outcome | None]]:
    """Wait for at least one item; take all that are through out of `running`."""
    finished, _ = wait(running, return_when=FIRST_COMPLETED)
    return [(running.pop(future), _result(future)) for future in finished]


def _result(future: Future[Outcome]) -> Outcome | None:
    try:
        return future.result()
    except BrokenProcessPool:
        return None


def _alone(item: Item, out: Path, task: Task) -> Outcome:
    """A suspect in a process of its own."""
    with _executor(task, 1) as pool:
        outcome = _result(pool.submit(_work, item, out))
    return outcome or Outcome(item.id, item.source, "failed", reason=KILLED)


@contextmanager
def _executor(task: Task, workers: int) -> Iterator[ProcessPoolExecutor]:
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, context, initializer=_set_up, initargs=(task, workers))
    try:
        yield pool
    except BaseException:  # the job is stopped, or the task cannot be set up: a clip may take minutes
        for worker in set(multiprocessing.active_children()) - others:
            worker.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


_task: Task
_runner: Runner | None = None


def _set_up(task: Task, workers: int) -> None:
    """In the worker: remember the task, share the cores, die with the job."""
    global _task
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C goes to all: the job's process answers it
    use_threads((os.cpu_count() or 1) // workers)
    threading.Thread(target=_end_with_the_job, daemon=True).start()
    _task = task
    signal.signal(signal.SIGTERM, _stop)  # last: until here there is nothing to clean up


def _end_with_the_job() -> None:
    """Wait for the job's process to end (killed, too), then end this one at once: results are atomic."""
    job = multiprocessing.parent_process()
    if job is not None:
        job.join()
        os._exit(1)


def _stop(_number: int, _frame: Any) -> None:
    """In the worker: leave the clip, removing what is half-written."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(128 + signal.SIGTERM)


def _work(item: Item, out: Path) -> Outcome:
    """In the worker: load the task with the first item, so that its errors reach the job and do not break the pool."""
    global _runner
    if _runner is None:
        _runner = _task.load()
    return process_one(item, out, _runner)
