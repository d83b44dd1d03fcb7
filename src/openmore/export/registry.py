"""`export(recon, path)`: which formats there are, which suffix means which, and how a write becomes all or nothing.

Choices
- A format is a module of this folder with `write(recon, path, *, progress, ...)`. Its keyword arguments are its
  options; a writer that makes point clouds takes `points: PointOptions`, whose fields then are options too. The
  writer's default for `points` is the format's default (COLMAP leaves movers out).
- A module may have `idle(recon, options)`, the options that make no difference to this scene and what to do: they are
  refused, for who gives one expects another output.
- A format that is named writes to whatever ending it is given, but to none that says another format, and USD, whose
  library goes by the ending, to its own only.
- Writers write plainly to the path they are given: it is a temporary place, renamed when they return.
- Nothing existing is replaced unless `overwrite` says so.
"""

from __future__ import annotations

import inspect
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from openmore.errors import InputError
from openmore.export.points import PointOptions
from openmore.io.atomic import atomic_folder, write_json
from openmore.io.exports import FOLDERS, MARK
from openmore.io.output import FILE, Kind, require_replaceable
from openmore.progress import ProgressCallback, silent
from openmore.types import Reconstruction

_POINT_FIELDS = {field.name for field in fields(PointOptions)}


@dataclass(frozen=True)
class Format:
    """One export format; `suffixes` is empty for formats that write a folder."""

    name: str  # also the module of openmore.export that holds `write`
    suffixes: tuple[str, ...]
    summary: str
    by_suffix: bool = False  # its library takes no other endings

    @property
    def is_folder(self) -> bool:
        return not self.suffixes

    @property
    def output(self) -> Kind:
        """What it writes, as it is known again."""
        return Kind(f"{self.name} written by openmore", (MARK,), FOLDERS[self.name]) if self.is_folder else FILE

    def writer(self) -> Callable[..., None]:
        return import_module(f"openmore.export.{self.name}").write

    def options(self) -> set[str]:
        """Names of the options `export` takes for this format."""
        own = set(_keywords(self.writer())) - {"progress", "points"}
        return own | (_POINT_FIELDS if "points" in _keywords(self.writer()) else set())

    def idle(self, recon: Reconstruction, options: dict[str, Any]) -> dict[str, str]:
        """Those of `options` that make no difference to this scene, each with why and what to do."""
        find = getattr(import_module(f"openmore.export.{self.name}"), "idle", None)
        return {} if find is None else find(recon, options)


_FORMATS = {
    f.name: f
    for f in (
        Format("tum", (".txt", ".tum"), "camera path as TUM text (evo, SLAM tools)"),
        Format("ply", (".ply",), "coloured point cloud (MeshLab, CloudCompare, Blender)"),
        Format("glb", (".glb",), "animated 4D scene with cameras (Blender, web viewers, Windows, Android)"),
        Format("usd", (".usd", ".usda", ".usdc"), "time-sampled points and camera (Houdini, Blender, Omniverse)", True),
        Format("rerun", (".rrd",), "recording for the rerun viewer"),
        Format("npz", (".npz",), "every array in one numpy file"),
        Format("colmap", (), "COLMAP project with images and masks (gsplat, 3DGS, COLMAP)"),
        Format("nerfstudio", (), "transforms.json with images, masks and points (nerfstudio)"),
        Format("depth", (), "depth as 16-bit PNG, or OpenEXR with files='exr'"),
    )
}


def formats() -> dict[str, Format]:
    """The formats by name, in the order they are documented."""
    return dict(_FORMATS)


def export(
    recon: Reconstruction,
    path: str | Path,
    format: str | None = None,
    *,
    overwrite: bool = False,
    progress: ProgressCallback = silent,
    **options: Any,
) -> Path:
    """Write `recon` to `path` and return the path.

    Without `format` the suffix decides; folder formats have none and are named. Options are those of the format's
    `write` function and, for point clouds, the fields of `PointOptions`. Raises InputError for an unknown format,
    suffix or option, an option without effect, an existing path without `overwrite` or a folder of something else, and
    when filtering leaves no point.
    """
    path = Path(path)
    chosen = find_format(path, format)
    if not len(recon):
        raise InputError("the scene has no frames: nothing to export")
    write = chosen.writer()
    arguments = _arguments(chosen, write, options)
    for name, reason in chosen.idle(recon, options).items():
        raise InputError(f"{name} has no effect on {chosen.name}: {reason}")
    place = atomic_folder(path, chosen.output, overwrite) if chosen.is_folder else _atomic_path(path, overwrite)
    with place as temporary:
        write(recon, temporary, progress=progress, **arguments)
        if chosen.is_folder:
            write_json(temporary / MARK, {"format": chosen.name, "source": recon.info.source})
    return path


def find_format(path: Path, name: str | None) -> Format:
    """The format called `name`, or the one that owns the path's suffix.

    Raises InputError listing all formats when there is none, and for a name and a suffix that do not go together.
    """
    owner = next((f for f in _FORMATS.values() if path.suffix.lower() in f.suffixes), None)
    if name is not None:
        chosen = named_format(name)
        if owner is not chosen and (owner is not None or chosen.by_suffix):
            ends = " or ".join(chosen.suffixes) or "no ending, for it is a folder"
            raise InputError(f"{path.name!r} is no name for {name}: give one with {ends}")
        return chosen
    if owner is not None:
        return owner
    listing = ", ".join(f"{f.name} ({' '.join(f.suffixes) or 'folder: give format='})" for f in _FORMATS.values())
    raise InputError(f"cannot tell the export format from {path.name!r}: expected one of {listing}")


def named_format(name: str) -> Format:
    """The format called `name`. Raises InputError listing all formats."""
    if name not in _FORMATS:
        raise InputError(f"unknown export format {name!r}: expected one of {', '.join(_FORMATS)}")
    return _FORMATS[name]


def _arguments(chosen: Format, write: Callable[..., None], options: dict[str, Any]) -> dict[str, Any]:
    """Gather the fields of PointOptions into the writer's `points`; the rest goes through."""
    unknown = set(options) - chosen.options()
    if unknown:
        known = ", ".join(sorted(chosen.options())) or "none"
        raise InputError(f"format {chosen.name} has no option {', '.join(sorted(unknown))}: its options are {known}")
    arguments = {name: value for name, value in options.items() if name not in _POINT_FIELDS}
    given = {name: value for name, value in options.items() if name in _POINT_FIELDS}
    if given:
        arguments["points"] = replace(_keywords(write)["points"].default, **given)
    return arguments


def _keywords(write: Callable[..., None]) -> dict[str, inspect.Parameter]:
    return {p.name: p for p in inspect.signature(write).parameters.values() if p.kind is p.KEYWORD_ONLY}


@contextmanager
def _atomic_path(path: Path, overwrite: bool) -> Iterator[Path]:
    """A path with the same name in a temporary folder beside the target, moved there when the block succeeds."""
    require_replaceable(path, FILE, overwrite)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        yield folder / path.name
        require_replaceable(path, FILE, overwrite)  # it may have appeared meanwhile
        os.replace(folder / path.name, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
