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
from openmore.io.output import Kind, require_replaceable


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


@contextmanager
def atomic_folder(path: Path, kind: Kind, overwrite: bool = False) -> Iterator[Path]:
    """A folder of `kind` that appears under `path` only when the block ends without an error.

    Raises InputError when `path` may not be replaced (see `io.output`) or its parent cannot be written; what stood
    under `path` is then untouched.
    """
    require_replaceable(path, kind, overwrite)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        workshop = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    new, old = workshop / "new", workshop / "old"
    try:
        new.mkdir()
        yield new
        require_replaceable(path, kind, overwrite)  # another run, or a person, may have put something there meanwhile
        if overwrite and path.exists():  # it steps aside and is deleted last: a stop in between loses neither
            os.replace(path, old)
        os.replace(new, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if old.exists() and not path.exists():
            os.replace(old, path)
        shutil.rmtree(workshop, ignore_errors=True)
