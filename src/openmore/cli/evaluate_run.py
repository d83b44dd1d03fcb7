"""What the commands of `openmore evaluate` share: their options, the network under test, running and reporting."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openmore.cli.progress import progress_bar
from openmore.errors import InputError

if TYPE_CHECKING:
    from openmore.evaluation import shards
    from openmore.evaluation.prediction import Predictor
    from openmore.evaluation.protocols.base import Benchmark
    from openmore.evaluation.suite import Result

Weights = Annotated[str, typer.Option(help="Name, file, folder, hf:owner/name or untrained:PRESET.")]
Mode = Annotated[str, typer.Option(help="full, stream, or stream-windowN (N past frames, e.g. stream-window5).")]
Refine = Annotated[
    str, typer.Option(help="Cameras: none, attention (duplicate camera tokens) or geometry (solved from matches).")
]
KnownK = Annotated[bool, typer.Option("--known-K", help="Give geometric refinement the clips' true intrinsics.")]
Out = Annotated[Path, typer.Option("-o", "--out", help="Folder of results; an existing one is resumed.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1 or mps.")]
Dtype = Annotated[str, typer.Option(help="auto, fp32 or bf16.")]
LongSide = Annotated[int | None, typer.Option(help="Long side in pixels the network sees.")]
KeepGoing = Annotated[
    bool, typer.Option("--keep-going", help="Count sequences that fail, with their reasons, instead of stopping.")
]
Shard = Annotated[str | None, typer.Option(help="i/n: only every n-th sequence, from i. Default: torchrun's rank.")]
Ray = Annotated[int, typer.Option(help="Shards to run as Ray tasks, one GPU each with --device cuda. 0: none.")]


Maker = Callable[[], "Predictor"]  # makes a method where it runs: here, or in a Ray task


def network(
    weights: str, mode: str, refine: str, device: str, dtype: str, long_side: int | None, known_K: bool = False
) -> Maker:
    """The network under test, to be made."""
    return partial(make_network, weights, mode, refine, device, dtype, long_side, known_K)


def make_network(
    weights: str, mode: str, refine: str, device: str, dtype: str, long_side: int | None, known_K: bool
) -> Predictor:
    """The network under test."""
    from openmore.evaluation.network import Network
    from openmore.evaluation.shards import local_device

    options: dict[str, Any] = {} if long_side is None else {"long_side": long_side}
    where = local_device(device)
    return Network(weights, mode, refine=refine, known_K=known_K, device=where, dtype=dtype, **options)


def run_and_report(
    bench: Benchmark,
    makers: list[Maker],
    data: Path,
    out: Path,
    keep_going: bool,
    shard: str | None,
    ray: int = 0,
    device: str = "cpu",
) -> list[Result]:
    """Run, write the tables, print the summary and what failed."""
    from openmore.evaluation.ray_shards import run_on_ray
    from openmore.evaluation.suite import run
    from openmore.io.output import require_folder

    require_folder(out)
    if ray:
        if shard is not None:
            raise InputError("--ray makes the shards itself: leave --shard out")
        results = run_on_ray(bench, makers, data, out, ray, keep_going=keep_going, gpus=float(device == "cuda"))
    else:
        mine, methods = parse_shard(shard), [make() for make in makers]
        with progress_bar() as progress:
            results = run(bench, methods, data, out, shard=mine, keep_going=keep_going, progress=progress)
        if not results:
            print(f"shard {mine.index} of {mine.count} is done; the last one to finish writes {out}")
            return []
    show(bench, results, out)
    return results


def show(bench: Benchmark, results: list[Result], out: Path) -> None:
    """Write the tables; print the summary and what is missing from it."""
    from openmore.evaluation.report import headers, summary_columns, summary_rows, table, write_report

    write_report(bench, results, out)
    header = ["method", *headers(summary_columns(bench)), "source"]
    print("\n".join(table(header, summary_rows(bench, results))))
    for result in results:
        if not result.complete:
            failed, missing, short = len(result.failures), len(result.missing), len(result.short)
            counts = f"{len(result.sequences)} measured ({short} cut short), {failed} failed, {missing} not on disk"
            print(f"{result.method}: {counts}")
            for name, reason in result.failures.items():
                print(f"  {name}: {reason}")
    print(f"per sequence: {out / 'table.md'}")


def parse_size(text: str) -> tuple[int, int]:
    """`WIDTHxHEIGHT` -> (height, width). Raises InputError."""
    width, cross, height = text.partition("x")
    if not cross or not width.isdecimal() or not height.isdecimal():
        raise InputError(f"--size {text} is not of the form WIDTHxHEIGHT, for example 518x154")
    return int(height), int(width)


def parse_shard(text: str | None) -> shards.Shard:
    """`i/n`; None: torchrun's rank and world size. Raises InputError."""
    from openmore.evaluation import shards

    if text is None:
        return shards.of_environment()
    index, slash, count = text.partition("/")
    if not slash or not index.isdecimal() or not count.isdecimal():
        raise InputError(f"--shard {text} is not of the form i/n, for example 0/4")
    return shards.Shard(int(index), int(count))
