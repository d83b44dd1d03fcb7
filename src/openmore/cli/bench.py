"""`openmore bench stream`: latency, rate and memory of a stream on this machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from openmore.errors import ConfigError

WARM_UP = 4  # timed frames begin when the window is full and this many more have passed


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(no_args_is_help=True, help="Measure speed and memory on this machine.")
    group.command()(stream)
    group.callback()(_group)
    app.add_typer(group, name="bench")


def _group() -> None:
    """Keeps `stream` a command of its own while it is the only one."""


def stream(
    weights: Annotated[str, typer.Option(help="Name, file, folder, or untrained:PRESET.")] = "small",
    size: Annotated[
        str | None, typer.Option(help="WIDTHxHEIGHT the network sees. Default: 4:3 of the weights.")
    ] = None,
    window: Annotated[list[int] | None, typer.Option(help="Past frames kept; repeat for several.")] = None,
    frames: Annotated[int, typer.Option(help="Frames timed per window.")] = 50,
    points: Annotated[bool, typer.Option("--points", help="Also run the point head.")] = False,
    iterations: Annotated[int | None, typer.Option(help="Camera refinements per frame, 1 to 4.")] = None,
    graphs: Annotated[bool, typer.Option("--graphs", help="Replay steps as CUDA graphs.")] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 or mps.")] = "cpu",
    dtype: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    out: Annotated[Path | None, typer.Option("--json", help="Also write the numbers to this file.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Time a stream of random pictures frame by frame, one synchronisation per frame."""
    if frames < 1:
        raise ConfigError(f"--frames is {frames}, expected at least 1")
    from openmore.io.atomic import write_json
    from openmore.io.output import FILE, require_free
    from openmore.model.more import MoRe
    from openmore.pipeline import Options, outputs_of

    if out is not None:
        require_free(out, FILE, overwrite)
    model = MoRe.from_pretrained(weights, device=device, dtype=dtype).pack()
    shape = parse_size(size) if size else default_shape(model)
    outputs = frozenset(outputs_of(model, Options(points=points)))
    rows = []
    typer.echo(f"{weights}, {shape[1]}x{shape[0]}, {model.config.tokens_per_frame(shape)} tokens per frame, {device}")
    for n in window or [16]:
        speed = time_window(model, shape, n, frames, outputs, iterations, graphs)
        rows.append({"window": n, **speed.to_dict()})
        typer.echo(
            f"window {n:4d}: {speed.fps:6.1f} fps, latency p50 {speed.p50_ms:.1f} p95 {speed.p95_ms:.1f} ms, "
            f"cache {speed.cache_mb:.0f} MB, memory {speed.memory_mb:.0f} MB"
        )
    if out is not None:
        write_json(out, {"weights": weights, "shape": shape, "device": device, "dtype": dtype, "rows": rows})
        typer.echo(f"wrote {out}")


def time_window(
    model: Any,
    shape: tuple[int, int],
    window: int,
    frames: int,
    outputs: frozenset[str],
    iterations: int | None,
    graphs: bool,
) -> Any:
    """Steady-state speed with a full window."""
    import torch

    from openmore.streaming.policy import Window
    from openmore.streaming.speed import measure
    from openmore.streaming.stream import StreamOptions, TensorStream

    stream = TensorStream(model, shape, StreamOptions(Window(window), outputs, iterations, graphs=graphs))
    warmup = window + 1 + WARM_UP  # the anchor stands beside the window
    images = (torch.rand(1, 1, 3, *shape) for _ in range(warmup + frames))
    return measure(stream.step, images, warmup=warmup, device=model.device, cache_bytes=lambda: stream.cache.bytes)


def parse_size(text: str) -> tuple[int, int]:
    """518x140 -> (140, 518). Raises ConfigError."""
    if not (match := re.fullmatch(r"(\d+)x(\d+)", text)):
        raise ConfigError(f"--size {text} is not a size: give WIDTHxHEIGHT, for example 518x140")
    return int(match[2]), int(match[1])


def default_shape(model: Any) -> tuple[int, int]:
    """A 4:3 picture with the weights' long side."""
    from openmore.io.sizing import Sizing

    return Sizing.fit((480, 640), model.config.image_size, model.config.patch_size).model_shape
