"""Hashes of weights files; those in the cache folder are computed once, for gigabytes take longer to hash than to map.

Beside FILE then lies FILE.verified: its sha256, with the size and the time of change that it had. A file that changed
since is hashed again. Files elsewhere are hashed each time: nothing is written beside a user's own files.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from openmore.errors import InputError
from openmore.io.atomic import write_json
from openmore.model.weights.registry import cache_folder
from openmore.model.weights.states import sha256


def file_hash(path: Path) -> str:
    """The sha256 of a weights file."""
    if not path.is_relative_to(cache_folder()):
        return sha256(path)
    marker, found = _marker(path), path.stat()
    seen = {"size": found.st_size, "mtime_ns": found.st_mtime_ns}
    stored = _read(marker)
    if isinstance(digest := stored.get("sha256"), str) and stored == {"sha256": digest, **seen}:
        return digest
    digest = sha256(path)
    with contextlib.suppress(InputError):  # a shared cache may be read-only: it is hashed again next time
        write_json(marker, {"sha256": digest, **seen})
    return digest


def remove(path: Path) -> None:
    """Delete a weights file and what is remembered of it."""
    path.unlink()
    _marker(path).unlink(missing_ok=True)


def _marker(path: Path) -> Path:
    return path.with_name(f"{path.name}.verified")


def _read(marker: Path) -> dict[str, object]:
    try:
        stored = json.loads(marker.read_text())
    except (OSError, ValueError):
        return {}
    return stored if isinstance(stored, dict) else {}
