"""May this output be written? The one rule of all commands, asked before the work and again where it is replaced.

Choices
- What is absent is free, and so is an empty folder. What is there is replaced only when asked (`overwrite`), a folder
  only if it is an output of the same kind and holds nothing else, subfolders included: what OpenMoRe did not write is
  never deleted.
- A link is never replaced: the output would take the link's place, not its target's.
- A place is tried before the work, not guessed: a temporary folder beside the output meets names that are too long,
  read-only folders and full disks as the output itself would.
"""

from __future__ import annotations

import errno
import os
import tempfile
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from openmore.errors import InputError

_STRAY = (".DS_Store", "Thumbs.db", "desktop.ini")  # what file managers leave in every folder


@dataclass(frozen=True)
class Kind:
    """An output as it is known again. Names are relative to the folder (`depth/000000.npy`), patterns allowed."""

    name: str  # with its article, for messages
    marks: tuple[str, ...] = ()  # one of them is in every such folder; none: it is never replaced
    parts: tuple[str, ...] = ()  # what else such a folder may hold

    def foreign(self, folder: Path) -> str | None:
        """Something in `folder`, relative to it, that is not of this kind; None when all of it is."""
        return _foreign(folder, [name.split("/") for name in (*self.marks, *self.parts)])

    def owns(self, folder: Path) -> bool:
        """Whether one of the marks is there."""
        return any((folder / mark).exists() for mark in self.marks)


FILE = Kind("a file")


def numbered(pattern: str, digits: int = 6) -> tuple[str, ...]:
    """`depth/{}.npy` -> patterns of the files of all frames; a long stream's numbers grow by a digit."""
    return tuple(pattern.format("[0-9]" * count) for count in (digits, digits + 1))


def require_replaceable(path: Path, kind: Kind, overwrite: bool = False) -> None:
    """Raise InputError unless `path` is free or may be replaced by an output of `kind`."""
    try:
        if path.is_symlink():
            raise InputError(f"{path} is a link to {path.readlink()}: give the place itself")
        if not path.exists() or (kind is not FILE and _is_empty_folder(path)):
            return
        _require_kind(path, kind)
    except OSError as error:  # a name too long for the disk, a folder that may not be looked into
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    if not overwrite:
        raise InputError(f"{path} exists already: choose another output or pass --overwrite")


def require_free(path: Path, kind: Kind, overwrite: bool = False, source: str | None = None) -> None:
    """`require_replaceable` before the work, and InputError when nothing can be written there at all.

    `source`: what the work reads, a path among others; it must not go with the output that is replaced.
    """
    require_replaceable(path, kind, overwrite)
    if source is not None and path.exists():
        read = Path(source).expanduser().resolve()
        if path.resolve() in (read, *read.parents):
            raise InputError(f"{path} holds the source {source}, which would go with it: choose another output")
    parent = path.absolute().parent
    if kind is FILE and not parent.exists():
        raise InputError(f"cannot write {path}: its folder {parent} is missing, make it first")
    _try_place(path, parent, f".{path.name}.")


def require_folder(path: Path) -> None:
    """Raise InputError unless results can be added to the folder `path`, which is made if need be. Deletes nothing."""
    _try_place(path, path.absolute())


def _try_place(path: Path, folder: Path, prefix: str = ".") -> None:
    """Raise InputError unless something called `prefix`... can be made in `folder`, or where that would be made."""
    try:
        folder = next(place for place in (folder, *folder.parents) if place.exists())
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        os.rmdir(tempfile.mkdtemp(dir=folder, prefix=prefix))
    except OSError as error:
        raise InputError(f"cannot write {path}: {_reason(error, folder)}") from error


def _require_kind(path: Path, kind: Kind) -> None:
    """Raise InputError for an existing path that is something else than `kind`."""
    if kind is FILE:
        if not path.is_file():
            raise InputError(f"{path} is no plain file: give the name of the file to write")
        return
    advice = "it is not overwritten, choose another output"
    if not path.is_dir():
        raise InputError(f"{path} exists and is not {kind.name}: {advice}")
    foreign = kind.foreign(path)
    if not kind.owns(path):
        held = f" (it holds {foreign})" if foreign else ""
        raise InputError(f"{path} exists and is not {kind.name}{held}: {advice}")
    if foreign is not None:
        raise InputError(f"{path} holds {foreign}, which is no part of {kind.name}: move it away, or {advice}")


def _foreign(folder: Path, own: list[list[str]]) -> str | None:
    """Something in `folder` that fits none of the names, which are split at their slashes."""
    for entry in sorted(folder.iterdir()):
        inside = [rest for first, *rest in own if fnmatch(entry.name, first)]
        if [] in inside or entry.name in _STRAY or any(fnmatch(entry.name, f".{name[0]}.????????") for name in own):
            continue  # ours, or what a killed run leaves: temporary files
        if not inside or entry.is_symlink() or not entry.is_dir():
            return entry.name
        found = _foreign(entry, inside)
        if found is not None:
            return f"{entry.name}/{found}"
    return None


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _reason(error: OSError, parent: Path) -> str:
    if error.errno == errno.ENOTDIR:
        return f"{parent} is a file, not a folder"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{parent} is read-only"
    return error.strerror or str(error)
