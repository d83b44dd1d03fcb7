"""Results as tables: Markdown for people, one LaTeX row for papers, per-sequence values below.

Choices
- Our rows come first in bold, then the published ones of the same benchmark with their source; a row with failures or
  missing sequences says so in its name, because its mean is over less.
- Numbers are printed as the field prints them (percentages, digits) from the columns of the benchmark.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from openmore.evaluation.protocols.base import Benchmark, Column
from openmore.evaluation.published import PublishedRow, published
from openmore.evaluation.suite import Result
from openmore.io.atomic import write_text


def write_report(benchmark: Benchmark, results: Sequence[Result], out: Path) -> str:
    """Write `table.md` and `row.tex` into `out`; returns the Markdown."""
    text = markdown(benchmark, results)
    write_text(out / "table.md", text)
    write_text(out / "row.tex", "".join(latex_row(summary_columns(benchmark), result) for result in results))
    return text


def markdown(benchmark: Benchmark, results: Sequence[Result]) -> str:
    """The whole report of one benchmark."""
    lines = [f"# {benchmark.title}", ""]
    if benchmark.note:
        lines += [benchmark.note, ""]
    lines += table(["method", *headers(summary_columns(benchmark)), "source"], summary_rows(benchmark, results))
    lines += ["", "Lower is better unless marked with ^.", ""]
    lines += variant_section(benchmark, results)
    lines += ["## Per sequence", ""]
    lines += sequence_table(benchmark.columns, results)
    for result in results:
        lines += failures(result)
    return "\n".join(lines) + "\n"


def summary_columns(benchmark: Benchmark) -> list[Column]:
    """Columns of the table over all sequences."""
    return [column for column in benchmark.columns if not column.detail]


def headers(columns: Sequence[Column]) -> list[str]:
    """Column headers, ^ where higher is better."""
    return [column.header + ("^" if column.higher_is_better else "") for column in columns]


def summary_rows(benchmark: Benchmark, results: Sequence[Result]) -> list[list[str]]:
    """Our rows and the published ones."""
    columns = summary_columns(benchmark)
    ours = [[f"**{label(result)}**", *cells(columns, result.summary), "this run"] for result in results]
    shown = [row for row in published().get(benchmark.name, []) if any(c.key in row.values for c in columns)]
    return ours + [[row.method, *cells(columns, row.values), source(row)] for row in shown]


def variant_section(benchmark: Benchmark, results: Sequence[Result]) -> list[str]:
    """The same columns under every other protocol that was computed, each beside published rows of that protocol."""
    columns = summary_columns(benchmark)
    names = dict.fromkeys(key.rpartition("/")[0] for result in results for key in result.summary if "/" in key)
    rows: list[list[str]] = []
    if any(f"{columns[0].key}_plain" in result.summary for result in results):
        plain = [[label(r), "plain mean", *cells(columns, with_suffix(columns, r.summary, "_plain"))] for r in results]
        rows += [[*row, "this run"] for row in plain]
    for name in names:
        rows += [
            [label(r), name, *cells(columns, with_prefix(columns, r.summary, f"{name}/")), "this run"] for r in results
        ]
        for row in published().get(benchmark.name, []):
            values = with_prefix(columns, row.values, f"{name}/")
            if values:
                rows.append([row.method, name, *cells(columns, values), source(row)])
    header = ["method", "protocol", *headers(columns), "source"]
    return ["## Under other protocols", "", *table(header, rows), ""] if rows else []


def with_prefix(columns: Sequence[Column], values: dict[str, float], prefix: str) -> dict[str, float]:
    """The columns' values of one variant, under the columns' own names."""
    return {c.key: values[prefix + c.key] for c in columns if prefix + c.key in values}


def with_suffix(columns: Sequence[Column], values: dict[str, float], suffix: str) -> dict[str, float]:
    """As `with_prefix`."""
    return {c.key: values[c.key + suffix] for c in columns if c.key + suffix in values}


def label(result: Result) -> str:
    """The method, and what its mean is missing."""
    lacking = []
    if len(result.sequences) < result.expected:
        lacking.append(f"{len(result.sequences)} of {result.expected} sequences")
    if result.short:
        lacking.append(f"{len(result.short)} cut short")
    return result.method + (f" ({', '.join(lacking)})" if lacking else "")


def source(row: PublishedRow) -> str:
    """Kind, source and note of a published row."""
    return f"{row.source}; {row.kind}" + (f"; {row.note}" if row.note else "")


def cells(columns: Sequence[Column], values: dict[str, Any]) -> list[str]:
    """Formatted values, "-" where there is none."""
    return [number(values.get(column.key), column) for column in columns]


def number(value: Any, column: Column) -> str:
    """One value as the field prints it."""
    return "-" if not isinstance(value, int | float) else f"{value * column.scale:.{column.digits}f}"


def sequence_table(columns: Sequence[Column], results: Sequence[Result]) -> list[str]:
    """One line per sequence and method, methods of a sequence together; columns that nobody fills are left out."""
    measured = [row for result in results for row in result.sequences.values()]
    used = [column for column in columns if any(column.key in row for row in measured)]
    names = list(dict.fromkeys(name for result in results for name in result.sequences))
    rows = [
        [name, result.method, *cells(used, result.sequences[name])]
        for name in names
        for result in results
        if name in result.sequences
    ]
    return table(["sequence", "method", *headers(used)], rows)


def failures(result: Result) -> list[str]:
    """What was not measured and why."""
    lines = [f"- {result.method} failed on {name}: {reason}" for name, reason in result.failures.items()]
    if result.missing:
        lines.append(f"- {result.method}: not on disk: {', '.join(result.missing)}")
    if result.short:
        lines.append(f"- {result.method}: cut short: {', '.join(f'{n} ({what})' for n, what in result.short.items())}")
    return ["", *lines] if lines else []


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table with aligned columns."""
    everything = [list(header), *[[cell.replace("|", "/") for cell in row] for row in rows]]
    widths = [max(len(row[k]) for row in everything) for k in range(len(header))]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths)) + " |" for row in everything]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return lines


def latex_row(columns: Sequence[Column], result: Result) -> str:
    """`method & value & ... \\\\`, with special characters escaped."""
    name = label(result).replace("_", "\\_").replace("&", "\\&").replace("%", "\\%")
    return " & ".join([name, *cells(columns, result.summary)]) + " \\\\\n"
