"""Speed as a table beside published figures, and as JSON with the machine it was measured on."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from openmore.evaluation.published import published
from openmore.evaluation.report import source, table
from openmore.evaluation.speed import Speed
from openmore.io.atomic import write_json, write_text


def report(speeds: Sequence[Speed], device: str, out: Path) -> str:
    """Write `results.json` and `table.md` into `out`; returns the Markdown."""
    out.mkdir(parents=True, exist_ok=True)
    when = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    content = {
        "suite": "kitti-speed",
        "date": when,
        "machine": machine(device),
        "speeds": [s.as_dict() for s in speeds],
    }
    write_json(out / "results.json", content)
    text = markdown(speeds, device)
    write_text(out / "table.md", text)
    return text


def markdown(speeds: Sequence[Speed], device: str) -> str:
    """The table."""
    rows = [ours(speed, device) for speed in speeds]
    rows += [[row.method, f"{row.values['fps']:.2f}", "-", "-", "-", source(row)] for row in published()["kitti-speed"]]
    lines = ["# Streaming speed, KITTI size", ""]
    lines += table(["method", "FPS", "p50 / p95 (ms)", "first -> last (ms)", "memory (MB)", "setting"], rows)
    return "\n".join(lines) + "\n"


def ours(speed: Speed, device: str) -> list[str]:
    """One measured line."""
    about, (height, width) = speed.description, speed.shape
    tokens = f", {about['tokens_per_frame']} tokens" if "tokens_per_frame" in about else ""
    where = machine(device).get("gpu") or machine(device)["processor"]
    by_ten = speed.latency_by_ten_ms
    memory = "-" if speed.peak_memory_mb is None else f"{speed.peak_memory_mb:.0f}"
    return [
        f"**{about.get('name', 'unnamed')}**",
        f"{speed.fps:.2f}",
        "-" if speed.latency_p50_ms is None else f"{speed.latency_p50_ms:.1f} / {speed.latency_p95_ms:.1f}",
        f"{by_ten[0]:.1f} -> {by_ten[-1]:.1f}" if by_ten else "-",
        memory,
        f"this run; {width}x{height}{tokens}, {about.get('precision', '?')}, {speed.frames} frames, {where}",
    ]


def machine(device: str) -> dict[str, Any]:
    """Where it ran."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    found: dict[str, Any] = {"processor": name or platform.processor(), "threads": torch.get_num_threads()}
    found["torch"] = torch.__version__
    if device.startswith("cuda"):
        found["gpu"] = torch.cuda.get_device_name(device)
    return found
