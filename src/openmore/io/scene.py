"""The scene folder: written all at once or frame by frame, read lazily (contract: docs/outputs.md).

Choices
- `write_scene` writes beside the target and renames: an old scene survives until the new one is whole. Only folders
  that are scenes are ever overwritten.
- Reading opens scene.json and cameras.json only; dense arrays are read frame by frame when they are asked for.
- A scene whose stream runs still, or was killed, is read as far as it is written, with a warning: its frames are whole.
  What its stream would have said at the end (source, weights) is unknown.
- The format carries a version; a newer one is refused with a clear line instead of being half understood.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

from openmore.errors import DataError
from openmore.io.atomic import atomic_folder
from openmore.io.scene_arrays import SceneFrames
from openmore.io.scene_tracks import read_tracks, write_tracks
from openmore.io.scene_writer import FORMAT, JOURNAL, SCENE, VERSION, SceneWriter, journal_entries, written_arrays
from openmore.io.source import missing_path
from openmore.types import Reconstruction, SceneInfo

log = logging.getLogger(__name__)

__all__ = ["SceneFrames", "SceneWriter", "read_scene", "write_scene"]


def write_scene(recon: Reconstruction, path: Path, overwrite: bool = False) -> Path:
    """Write a reconstruction as a scene folder, all or nothing; returns its path.

    Raises InputError when `path` exists (with `overwrite`: exists and is no scene), or cannot be written.
    """
    with atomic_folder(path, SCENE, overwrite) as folder:
        writer = SceneWriter(folder)
        for frame in recon.frames:
            writer.write(frame)
        if recon.tracks is not None:
            write_tracks(folder, recon.tracks)
        writer.finish(recon.info)
    return path


def read_scene(path: Path) -> Reconstruction:
    """Open a scene folder; frames are read when they are asked for. Raises DataError naming what is wrong."""
    if os.path.exists(path / JOURNAL) and not os.path.exists(path / "scene.json"):
        return _read_unfinished(path)
    document = _read_document(path)
    names = {field.name for field in fields(SceneInfo)}
    try:
        info = SceneInfo(**{key: value for key, value in document.items() if key in names})
        info.model_shape, info.original_shape = _shape(info.model_shape), _shape(info.original_shape)
        arrays, count = list(document["arrays"]), int(document["frames"])
    except (TypeError, KeyError, ValueError) as error:
        raise _damaged(path / "scene.json", error) from error
    entries = _read_cameras(path, count)
    try:
        frames = SceneFrames(path, entries, info.model_shape, arrays)
    except (TypeError, KeyError, ValueError) as error:
        raise _damaged(path / "cameras.json", error) from error
    return Reconstruction(frames, info, path, read_tracks(path))


def _read_unfinished(path: Path) -> Reconstruction:
    """The frames that a stream has written so far."""
    try:
        entries = journal_entries(path / JOURNAL)
        if not entries:
            raise DataError(f"{path} is an unfinished scene without a frame: wait for its stream, or start it again")
        arrays, shape = written_arrays(path)
        frames = SceneFrames(path, entries, shape, arrays)
    except (OSError, TypeError, KeyError, ValueError) as error:
        raise _damaged(path, error) from error
    warning = (
        f"unfinished scene of {len(frames)} frames: its stream runs still, or was killed; source and weights unknown"
    )
    log.warning("%s: %s", path, warning)
    original = frames.cameras[0].height, frames.cameras[0].width
    info = SceneInfo("unknown", {"name": "unknown"}, "stream", shape, original, warnings=[warning])
    return Reconstruction(frames, info, path)


def _read_document(path: Path) -> dict[str, Any]:
    if not os.path.exists(path):  # never raises, unlike Path.exists
        raise missing_path(path)
    document = _read_json(path / "scene.json")
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise DataError(f"{path / 'scene.json'} does not describe a scene: expected format {FORMAT!r}")
    if document.get("version") != VERSION:
        raise _other_version(path, document)
    return document


def _other_version(path: Path, document: dict[str, Any]) -> DataError:
    """Newer scenes need a newer openmore; older ones are made again, since only the source has all that is needed."""
    given = document.get("version")
    if isinstance(given, int) and given > VERSION:
        todo = "update openmore"
    else:
        source = shlex.quote(str(document.get("source", "SOURCE")))
        todo = f"make it again with: openmore reconstruct {source} -o {shlex.quote(str(path))} --overwrite"
    return DataError(f"{path} has scene format {given}, this openmore reads {VERSION}: {todo}")


def _read_cameras(path: Path, count: int) -> list[dict[str, Any]]:
    entries = _read_json(path / "cameras.json")
    if not isinstance(entries, list) or len(entries) != count:
        given = len(entries) if isinstance(entries, list) else "no list of"
        raise DataError(f"{path / 'cameras.json'} holds {given} cameras: scene.json promises {count}")
    return entries


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path} is missing: {path.parent} is not a scene folder, or it is incomplete") from None
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _shape(values: Any) -> tuple[int, int]:
    height, width = values
    return int(height), int(width)


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} is damaged ({type(error).__name__}: {error}): reconstruct the scene again")
