"""`openmore export SCENE --to ply,glb,colmap`: a scene folder in other programs' formats."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openmore.cli.endings import kept
from openmore.cli.progress import progress_bar
from openmore.errors import InputError

if TYPE_CHECKING:
    from openmore.types import Reconstruction


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(export)


def export(
    scene: Annotated[Path, typer.Argument(help="Scene folder, as `openmore reconstruct` writes it.")],
    to: Annotated[
        str | None,
        typer.Option(
            help="Formats, comma-separated: " + "tum ply glb usd rerun npz colmap nerfstudio depth".replace(" ", ", ")
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="File or folder; several formats: a folder for all. Default: SCENE/exports."),
    ] = None,
    static_only: Annotated[
        bool | None,
        typer.Option(
            "--static-only/--with-movers",
            help="Leave moving objects out. Default: out for colmap and nerfstudio, in elsewhere.",
        ),
    ] = None,
    confidence: Annotated[
        str | None, typer.Option(help="'20%' drops each frame's least sure fifth; a number is a threshold.")
    ] = None,
    motion: Annotated[float | None, typer.Option(help="Moving probability from which a pixel is a mover.")] = None,
    voxel: Annotated[float | None, typer.Option(help="Thinning cell in scene units; 0 keeps every point.")] = None,
    max_points: Annotated[int | None, typer.Option(help="Points of the static cloud.")] = None,
    images: Annotated[
        str | None, typer.Option(help="Pictures for colmap and nerfstudio: auto, source or model.")
    ] = None,
    dense: Annotated[
        bool, typer.Option("--dense", help="colmap: points from depth even where cameras were solved from tracks.")
    ] = False,
    depth_files: Annotated[str | None, typer.Option(help="Depth pictures: png (16 bit) or exr (32-bit float).")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")] = False,
) -> None:
    """Write a scene as TUM, PLY, GLB, USD, rerun, npz, COLMAP, nerfstudio or depth pictures."""
    from openmore.types import Reconstruction

    recon = Reconstruction.load(scene)
    targets = plan(scene, to, out)
    given = {"static_only": static_only, "confidence": confidence, "motion": motion, "voxel": voxel}
    given |= {"max_points": max_points, "images": images, "files": depth_files, "dense": dense or None}
    options = {name: value for name, value in given.items() if value is not None}
    _require_used(options, recon, [name for name, _ in targets])
    from openmore.export import export as run
    from openmore.export import formats
    from openmore.io.output import require_replaceable

    for name, path in targets:  # all of them before the first is written
        require_replaceable(path, formats()[name].output, overwrite)
    written: list[Path] = []
    for name, path in targets:
        with kept(written), progress_bar() as progress:
            run(recon, path, name, overwrite=overwrite, progress=progress, **fitting(options, recon, name))
        written.append(path)
        typer.echo(f"{name} -> {path}")


def plan(scene: Path, to: str | None, out: Path | None) -> list[tuple[str, Path]]:
    """(format, path) of everything to write.

    Raises InputError for unknown formats, a format and an ending that do not go together, or when nothing says which.
    """
    from openmore.export.registry import find_format, formats, named_format

    if to is None:
        if out is None:
            raise InputError(f"nothing to export: give --to with some of {', '.join(formats())}")
        return [(find_format(out, None).name, out)]
    names = [named_format(name.strip()).name for name in to.split(",") if name.strip()]
    if not names:
        raise InputError(f"--to {to!r} names no format: give some of {', '.join(formats())}")
    if len(names) == 1 and out is not None:
        return [(find_format(out, names[0]).name, out)]
    folder = out or scene / "exports"
    return [(name, folder / default_name(name)) for name in dict.fromkeys(names)]


def default_name(name: str) -> str:
    """What a format's output is called inside a folder of exports."""
    from openmore.io.exports import FILES

    return FILES.get(name, name)


def fitting(options: dict[str, Any], recon: Reconstruction, name: str) -> dict[str, Any]:
    """Those of `options` that make a difference to this scene in one format."""
    from openmore.export import formats

    chosen = formats()[name]
    idle = chosen.idle(recon, options)
    return {key: value for key, value in options.items() if key in chosen.options() and key not in idle}


def _require_used(options: dict[str, Any], recon: Reconstruction, names: list[str]) -> None:
    from openmore.export import formats

    used = set().union(*(fitting(options, recon, name) for name in names))
    idle = {key: why for name in names for key, why in formats()[name].idle(recon, options).items()}
    for option, value in options.items():
        if option not in used:
            raise InputError(
                f"{_flag(option, value)} has no effect on {', '.join(names)}: {idle.get(option, 'leave it out')}"
            )


def _flag(option: str, value: Any) -> str:
    """How an option is called on the command line."""
    if option == "static_only":
        return "--static-only" if value else "--with-movers"
    return "--depth-files" if option == "files" else f"--{option.replace('_', '-')}"
