"""One process makes an item at a time, however many jobs write to one folder.

Choices
- A lock of the operating system on a file beside the result: it ends with its process, however that ends, so there is
  nothing to expire. Folders shared between machines pass it on (NFS 4 does).
- Where there are no such locks (Windows) every claim is granted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def claimed(out: Path, name: str) -> Iterator[bool]:
    """Whether the item `name` of the folder `out` is this block's alone to make; False: another process is at it."""
    try:
        import fcntl
    except ImportError:
        yield True
        return
    path = out / f".{name}.lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        if not _is(handle, path):  # its owner finished, and removed it, between our two calls
            yield False
            return
        try:
            yield True
        finally:
            with suppress(OSError):
                path.unlink()
    finally:
        os.close(handle)


def _is(handle: int, path: Path) -> bool:
    """Whether `path` still names the open file."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
