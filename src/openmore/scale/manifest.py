"""A manifest: which clips, and what each one's result is called.

Choices
- JSONL, one object per line: {"source": ..., "id": ..., options ...}; or plain text, one source per line.
- The id names the result folder, so it must be unique and a plain name; without one it is the source's stem.
- Letters of every script are plain, composed (NFC): two spellings that look the same are one id on some disks.
- A bad line is refused with its number before any work starts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openmore.errors import DataError, InputError
from openmore.io.names import PUNCTUATION, composed, is_plain, plain_name


@dataclass(frozen=True)
class Item:
    """One clip to process."""

    id: str
    source: str
    options: dict[str, Any] = field(default_factory=dict)  # override the job's options for this clip


def read_manifest(path: str | Path) -> list[Item]:
    """Items of a manifest file. Raises InputError when it is missing or empty, DataError naming the line at fault."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is no manifest file: give JSONL or one source per line")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text: give JSONL or one source per line") from error
    items: list[Item] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        item = _parse(line.strip(), f"{path}, line {number}")
        if item.id in seen:
            raise DataError(f"{path}, line {number}: id {item.id!r} is taken by line {seen[item.id]}: give another")
        seen[item.id] = number
        items.append(item)
    if not items:
        raise InputError(f"{path} names no clips: expected one per line")
    return items


def write_manifest(path: str | Path, items: Iterable[Item]) -> None:
    """Write items as JSONL, atomically."""
    from openmore.io.atomic import write_text

    rows = [json.dumps({"id": item.id, "source": item.source, **item.options}) for item in items]
    write_text(Path(path), "\n".join((*rows, "")))


def _parse(line: str, where: str) -> Item:
    if not line.startswith("{"):
        return Item(_checked(_stem(line), where), line)
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not JSON ({error.msg}): expected {{'source': 'clip.mp4', ...}} or a path") from error
    source = row.pop("source", None)
    if not isinstance(source, str) or not source:
        raise DataError(f"{where}: there is no source: expected {{'source': 'clip.mp4', ...}}")
    return Item(_checked(str(row.pop("id", None) or _stem(source)), where), source, row)


def _stem(source: str) -> str:
    """A name for a source: file stem, or the folder's name for a folder called rgb or images."""
    path = Path(source)
    name = path.parent.name if path.name in ("rgb", "images", "frames") and path.parent.name else path.stem
    return plain_name(name, "_").lstrip(PUNCTUATION)


def _checked(name: str, where: str) -> str:
    name = composed(name)
    if not all(map(is_plain, name)) or not name[:1].isalnum():
        raise DataError(f"{where}: id {name!r} is no plain name: give an id of letters, digits, '.', '_' and '-'")
    return name
