"""`openmore batch MANIFEST -o OUT`: the same work for many clips, on one machine or many; start it again to go on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openmore.errors import DataError

if TYPE_CHECKING:
    from openmore.scale import Summary


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(batch)


def batch(
    manifest: Annotated[Path, typer.Argument(help="Clips: one source per line, or JSON lines with source, id, ...")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write: one result per clip, by its id.")],
    task: Annotated[str, typer.Option(help="masks or reconstruct.")] = "masks",
    executor: Annotated[
        str, typer.Option(help="local; slurm-array: this array task's share; ray: a Ray cluster.")
    ] = "local",
    workers: Annotated[
        int, typer.Option(min=0, help="Processes (0 = none but this one) or, with ray, actors in the whole cluster.")
    ] = 1,
    gpus_per_worker: Annotated[float, typer.Option(min=0, help="GPUs that ray reserves for an actor.")] = 0.0,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="An option of the task, as JSON; may be given again."),
    ] = None,
) -> None:
    """Process every clip of a manifest. Finished clips are skipped, bad ones are listed in OUT/failures.jsonl."""
    from openmore.checks import named_values
    from openmore.cli.progress import progress_bar
    from openmore.scale import read_manifest, run_job

    options = named_values(settings or [], "--set", "--set long_side=432")
    items = read_manifest(manifest)
    with progress_bar() as progress:
        summary = run_job(
            items,
            out,
            task,
            executor=executor,  # type: ignore[arg-type]
            workers=workers,
            gpus_per_worker=gpus_per_worker,
            progress=progress,
            **options,
        )
    conclude(summary, out)


def conclude(summary: Summary, out: Path) -> None:
    """Say how it ended. Raises DataError (exit code 2) when clips failed, so that scripts and schedulers notice."""
    total = summary.done + summary.skipped + len(summary.busy) + len(summary.failed)
    busy = f"{len(summary.busy)} another job is making, " if summary.busy else ""
    typer.echo(
        f"{total} clips -> {out}: {summary.done} done, {summary.skipped} were there, {busy}{summary.seconds:.1f} s"
    )
    if summary.failed:
        first = ", ".join(summary.failed[:3]) + (", ..." if len(summary.failed) > 3 else "")
        raise DataError(
            f"{len(summary.failed)} of {total} clips failed ({first}): read why in {out}, failures*.jsonl; "
            "the same command tries them again"
        )
