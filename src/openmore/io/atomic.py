"""Writes that are all or nothing: a temporary name beside the target, then a rename."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from openmore.errors import InputError


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A binary file that appears under `path` only when the block ends without an error.

    Raises InputError with one line when the folder is missing, read-only or full; the old file is then untouched.
    """
    try:
        handle = tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False)  # noqa: SIM115
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        with handle:
            yield handle  # type: ignore[misc]
        os.chmod(handle.name, 0o644)
        os.replace(handle.name, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        Path(handle.name).unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Atomically write UTF-8 text."""
    with atomic_file(path) as handle:
        handle.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Atomically write indented JSON."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def require_ours(path: Path, mark: str) -> None:
    """Raise InputError for an existing path that is no empty folder and lacks the file or folder `mark`."""
    ours = path.is_dir() and ((path / mark).exists() or not any(path.iterdir()))
    if path.exists() and not ours:
        raise InputError(f"{path} exists and was not written by this ({mark} is missing): choose another output")


@contextmanager
def atomic_folder(path: Path, overwrite: bool = False) -> Iterator[Path]:
    """A folder that appears under `path` only when the block ends without an error.

    Raises InputError when `path` exists (unless `overwrite`) or its parent cannot be written.
    """
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists already: choose another output or pass --overwrite")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        yield temporary
        os.chmod(temporary, 0o755)
        if path.exists():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
