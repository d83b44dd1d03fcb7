"""The paper's ablations as one table: given weights, every row on every benchmark, beside the published rows.

Choices
- Rows of the supplement's Table 3 (attention forcing, KL instead of it, refinement pass) and of the paper (grouped
  causal attention). "No refinement pass" needs no weights of its own: it is the whole method without the pass.
- One network is in memory at a time; predictions are cached as in every run, so rows can be added later.
- Benchmarks are those whose data was given; without any, the synthetic clips, which cost nothing and rank the same
  choices in our own world.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from openmore.errors import InputError
from openmore.evaluation.network import Network
from openmore.evaluation.protocols.registry import BUILDERS, benchmark
from openmore.evaluation.published import published
from openmore.evaluation.report import cells, headers, label, source, summary_columns, table
from openmore.evaluation.suite import Result, run
from openmore.io.atomic import write_text
from openmore.progress import ProgressCallback, silent


@dataclass(frozen=True)
class AblationRow:
    """One line of the table."""

    label: str
    weights: str
    refine: str  # "attention": with the pass over the duplicate camera tokens


def rows(
    full: str, *, no_forcing: str | None = None, kl: str | None = None, no_grouped: str | None = None
) -> list[AblationRow]:
    """The rows for which there are weights."""
    found = [AblationRow("full", full, "attention"), AblationRow("no refinement pass", full, "none")]
    others = {
        "no attention forcing": no_forcing,
        "KL instead of attention forcing": kl,
        "no grouped causal attention": no_grouped,
    }
    return found + [AblationRow(name, weights, "attention") for name, weights in others.items() if weights is not None]


def parse_data(given: Sequence[str]) -> dict[str, Path]:
    """`SUITE=PATH` words -> suite -> path; nothing given means the synthetic clips. Raises InputError."""
    if not given:
        return {"synthetic": Path()}
    found = {}
    for word in given:
        name, equals, path = word.partition("=")
        if not equals or name not in BUILDERS:
            raise InputError(f"--data {word!r} is not SUITE=PATH with a suite of {', '.join(BUILDERS)}")
        found[name] = Path(path)
    return found


def run_ablation(
    methods: Sequence[AblationRow],
    suites: Mapping[str, Path],
    out: Path,
    mode: str,
    device: str,
    dtype: str,
    *,
    keep_going: bool = True,
    progress: ProgressCallback = silent,
) -> str:
    """Run everything; writes `table.md` and returns it."""
    results: dict[str, list[Result]] = {name: [] for name in suites}
    for row in methods:
        method = Network(row.weights, mode, refine=row.refine, label=row.label, device=device, dtype=dtype)
        for name, data in suites.items():
            results[name] += run(benchmark(name), [method], data, out / name, keep_going=keep_going, progress=progress)
    text = "\n".join(section for name in suites for section in suite_section(name, results[name]))
    write_text(out / "table.md", text)
    return text


def suite_section(name: str, results: Sequence[Result]) -> list[str]:
    """One benchmark: our rows, then the published ablation rows."""
    bench = benchmark(name)
    columns = summary_columns(bench)
    lines = [[label(result), *cells(columns, result.summary), "this run"] for result in results]
    shown = [row for row in published().get(name, []) if row.kind == "ablation"]
    lines += [[row.method, *cells(columns, row.values), source(row)] for row in shown]
    return [f"## {bench.title}", "", *table(["row", *headers(columns), "source"], lines), ""]
