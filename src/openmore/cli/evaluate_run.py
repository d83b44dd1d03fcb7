"""What the commands of `openmore evaluate` share: their options, the network under test, running and reporting."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openmore.cli.progress import progress_bar
from openmore.errors import InputError

if TYPE_CHECKING:
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
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first failure instead of counting it.")]
Shard = Annotated[str | None, typer.Option(help="i/n: only every n-th sequence, from i. Default: torchrun's rank.")]


def network(
    weights: str, mode: str, refine: str, device: str, dtype: str, long_side: int | None, known_K: bool = False
) -> Predictor:
    """The network under test."""
    from openmore.evaluation.network import Network

    options: dict[str, Any] = {} if long_side is None else {"long_side": long_side}
    return Network(weights, mode, refine=refine, known_K=known_K, device=device, dtype=dtype, **options)


def run_and_report(
    bench: Benchmark, methods: list[Predictor], data: Path, out: Path, strict: bool, shard: str | None
) -> list[Result]:
    """Run, write the tables, print the summary and what failed."""
    from openmore.evaluation.report import headers, summary_columns, summary_rows, table, write_report
    from openmore.evaluation.suite import run

    with progress_bar() as progress:
        results = run(bench, methods, data, out, shard=parse_shard(shard), keep_going=not strict, progress=progress)
    write_report(bench, results, out)
    header = ["method", *headers(summary_columns(bench)), "source"]
    print("\n".join(table(header, summary_rows(bench, results))))
    for result in results:
        if not result.complete:
            failed, missing = len(result.failures), len(result.missing)
            print(f"{result.method}: {len(result.sequences)} measured, {failed} failed, {missing} not on disk")
            for name, reason in result.failures.items():
                print(f"  {name}: {reason}")
    print(f"per sequence: {out / 'table.md'}")
    return results


def parse_size(text: str) -> tuple[int, int]:
    """`WIDTHxHEIGHT` -> (height, width). Raises InputError."""
    width, cross, height = text.partition("x")
    if not cross or not width.isdecimal() or not height.isdecimal():
        raise InputError(f"--size {text} is not of the form WIDTHxHEIGHT, for example 518x154")
    return int(height), int(width)


def parse_shard(text: str | None) -> tuple[int, int]:
    """`i/n` -> (i, n); None: torchrun's rank and world size. Raises InputError."""
    from openmore.evaluation.suite import shard_of_environment

    if text is None:
        return shard_of_environment()
    index, slash, count = text.partition("/")
    if not slash or not index.isdecimal() or not count.isdecimal():
        raise InputError(f"--shard {text} is not of the form i/n, for example 0/4")
    return int(index), int(count)
