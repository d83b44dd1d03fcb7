"""`tracks.npz` of a scene folder: sparse points and the pixels they were seen at. Absent unless cameras were solved."""

from __future__ import annotations

import zipfile
from dataclasses import fields
from pathlib import Path

import numpy as np

from openmore.errors import DataError
from openmore.io.atomic import atomic_file
from openmore.types import SparseTracks

TRACKS = "tracks.npz"


def write_tracks(folder: Path, tracks: SparseTracks) -> None:
    """Write the file, whole or not at all."""
    with atomic_file(folder / TRACKS) as handle:
        np.savez_compressed(handle, **{field.name: getattr(tracks, field.name) for field in fields(SparseTracks)})


def read_tracks(folder: Path) -> SparseTracks | None:
    """The tracks of a scene; None when it has none. Raises DataError for a damaged file."""
    path = folder / TRACKS
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as archive:
            return SparseTracks(**{field.name: archive[field.name] for field in fields(SparseTracks)})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is damaged ({type(error).__name__}: {error}): reconstruct the scene again") from error
