"""Write a benchmark's result with everything needed to believe it: machine, date, commit, command, versions."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"


def record(name: str, results: Any, note: str = "") -> Path:
    """Write results/NAME.json and return its path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    content = {
        "command": command(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": machine(),
        "torch": torch.__version__,
        "note": note,
        "results": results,
    }
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


def command() -> str:
    """What was typed, without where the repository lies: a module (`-m`) or a script, and its arguments."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    path = Path(sys.argv[0])
    script = path.resolve().relative_to(RESULTS.parents[1]) if path.is_absolute() else path
    return " ".join(["python", *(("-m", spec.name) if spec else (str(script),)), *sys.argv[1:]])


def machine() -> dict[str, Any]:
    """Processor, cores, memory and GPU."""
    info: dict[str, Any] = {"system": platform.platform(), "processor": processor(), "cores": os.cpu_count()}
    info["memory_gb"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    info["instructions"] = torch.backends.cpu.get_cpu_capability()
    info["bf16"] = torch.cpu._is_avx512_bf16_supported()  # the same model name comes with and without
    info["load_average"] = [round(x, 2) for x in os.getloadavg()]
    if torch.cuda.is_available():
        info["gpu"] = torch.cuda.get_device_name()
    return info


def processor() -> str:
    """Model name where the system tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return name or platform.processor()


def commit() -> str:
    """The commit measured, marked when the tree differs from it."""
    run = lambda *args: subprocess.run(["git", *args], capture_output=True, text=True).stdout.strip()  # noqa: E731
    return run("rev-parse", "--short", "HEAD") + ("-modified" if run("status", "--porcelain", "src") else "")
