"""A stream's step against the obvious one (`_plain_stream.py`), same weights, same cached frames.

    python benchmarks/stream.py published [--cached 0 11 39] [--frames 3]    VGGT-1B size, 518x140
    python benchmarks/stream.py copies [--size 112x80]                       small, 500 cached frames

`published` runs each case in its own process, so that peak memory is its own. The cached frames are random keys and
values put in place directly, the same for every variant: pushing 39 frames first would take an hour. Random weights:
this measures speed, and that both paths compute the same, not what they see.

On a processor without bf16 instructions bf16 weights make no sense and are left out; the records are then named so.

On a busy machine set OMP_NUM_THREADS=1 and read the processor seconds: waiting for a turn is not in them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks._meters import ATTENTION, PRODUCTS, KernelClock, forget_peak, peak_bytes
from benchmarks._models import random_model
from benchmarks._plain_stream import PlainStream
from benchmarks._record import record
from openmore.cli.bench import parse_size
from openmore.model.config import preset
from openmore.model.dense_head import dense_grid
from openmore.model.estimate import gflop_of_frame
from openmore.model.more import MoRe
from openmore.model.weights.load import fast_bf16
from openmore.streaming.cache import TokenStore
from openmore.streaming.stream import StreamOptions, TensorStream

HEADS = frozenset({"camera", "depth", "points"})
FAST_BF16 = fast_bf16(torch.device("cpu"))
# name -> (stream, weights, cache, heads)
VARIANTS = {
    "plain fp32": ("plain", "fp32", None, HEADS),
    "ours fp32": ("ours", "fp32", None, HEADS),
    "ours fp32, bf16 cache, no point head": ("ours", "fp32", torch.bfloat16, HEADS - {"points"}),
    "ours bf16, no point head": ("ours", "bf16", None, HEADS - {"points"}),
}
if not FAST_BF16:
    del VARIANTS["ours bf16, no point head"]


def noise(shape: tuple[int, ...], seed: int) -> Tensor:
    """Keys or values of cached frames."""
    return torch.empty(shape).uniform_(-1, 1, generator=torch.Generator().manual_seed(seed))


def open_prefilled(
    kind: str,
    model: MoRe,
    shape: tuple[int, int],
    cached: int,
    heads: frozenset[str],
    cache_dtype: torch.dtype | None = None,
) -> Any:
    """A stream that has seen `cached` frames."""
    c, P = model.config, model.config.tokens_per_frame(shape)
    width = c.embed_dim // c.num_heads
    wide = 2 * c.embed_dim // c.camera_heads
    if kind == "plain":
        stream = PlainStream(model)
        for layer in range(c.depth if cached else 0):
            stream.cache.k[layer,] = noise((1, c.num_heads, cached * P, width), layer)
            stream.cache.v[layer,] = noise((1, c.num_heads, cached * P, width), 1000 + layer)
        for i in range(c.camera_iterations * c.camera_depth if cached else 0):
            key = divmod(i, c.camera_depth)
            stream.cache.k[key] = noise((1, c.camera_heads, cached, wide), 2000 + i)
            stream.cache.v[key] = noise((1, c.camera_heads, cached, wide), 3000 + i)
    else:
        stream = TensorStream(model, shape, StreamOptions(outputs=heads, cache_dtype=cache_dtype))
        if cached:
            stream.cache.begin(range(cached))
            fill(stream.cache.tokens, 0, 1000)
            fill(stream.cache.cameras, 2000, 3000)
    stream.frames_seen = cached
    return stream


def fill(store: TokenStore, keys: int, values: int) -> None:
    for i, (k, v) in enumerate(zip(store.k, store.v)):
        k[:, :, : store.used] = noise((*k.shape[:2], store.used, k.shape[3]), keys + i)
        v[:, :, : store.used] = noise((*v.shape[:2], store.used, v.shape[3]), values + i)


def gflop_of_heads(name: str, shape: tuple[int, int], heads: frozenset[str]) -> float:
    """Convolutions of the dense heads for one frame."""
    config = preset(name)
    with torch.device("meta"):
        model = MoRe(config)
        tokens = {
            i: torch.empty(1, 1, config.tokens_per_frame(shape), 2 * config.embed_dim) for i in config.saved_layers
        }
        grid = dense_grid(config, shape, "meta")
    with FlopCounterMode(display=False) as counter:
        for head in sorted(heads - {"camera"}):
            getattr(model, {"points": "point"}.get(head, head) + "_head")(tokens, grid)
    return counter.get_total_flops() / 1e9


def one_variant(variant: str, size: str, cached: int, frames: int, outputs: str) -> dict[str, Any]:
    """Time `frames` further frames in this process."""
    kind, dtype, cache_dtype, heads = VARIANTS[variant]
    shape = parse_size(size)
    model = random_model("vggt-1b", dtype)
    if kind == "ours":
        model.pack()
    libraries = TensorStream(random_model("small", dtype), (160, 224), StreamOptions(cache_dtype=cache_dtype))
    libraries.step(torch.zeros(1, 1, 3, 160, 224))  # their code is in memory from here on
    del libraries
    before = forget_peak()
    stream = open_prefilled(kind, model, shape, cached, heads, cache_dtype)
    seconds, processor = [], []
    for i in range(frames):
        image = noise((1, 1, 3, *shape), 7 + i).abs()
        begun, begun_cpu = time.perf_counter(), time.process_time()
        raw = stream.step(image)
        seconds.append(time.perf_counter() - begun)
        processor.append(time.process_time() - begun_cpu)
        if i == 0:
            torch.save({"depth": raw.depth, "pose": raw.pose_codes[-1]}, outputs)
            peak = peak_bytes()
    begun = time.perf_counter()
    with KernelClock(PRODUCTS) as products:
        stream.step(image)
    share = products.seconds / (time.perf_counter() - begun)
    gflop = gflop_of_frame(model.config, shape, cached + 1) + gflop_of_heads("vggt-1b", shape, heads)
    return {
        "variant": variant,
        "cached_frames": cached,
        "seconds": [round(x, 2) for x in seconds],
        "best_s": round(min(seconds), 2),
        "best_processor_s": round(min(processor), 2),
        "gflop": round(gflop),
        "gflop_per_s": round(gflop / min(seconds), 1),
        "gflop_per_processor_s": round(gflop / min(processor), 1),
        "cache_mb": round(stream.cache.bytes / 1e6),
        "share_in_products": round(share, 3),
        "peak_mb_after_one_frame": round(peak / 1e6),
        "peak_mb_of_stream": round((peak - before) / 1e6),
    }


def product_rate(dtype: torch.dtype, size: int = 2048) -> float:
    """Best rate of a square matrix product, GFLOP per processor second."""
    a, b = (torch.randn(size, size).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(8):
        begun = time.process_time()
        torch.mm(a, b)
        best = min(best, time.process_time() - begun)
    return round(2 * size**3 / best / 1e9, 1)


def published(size: str, cached: list[int], frames: int) -> None:
    """Every variant at every length, each in a process of its own; variants alternate, so that all meet one load."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for count in cached:
            saved: dict[str, Any] = {}
            for variant in VARIANTS:
                path = str(Path(folder) / "outputs.pt")
                command = [sys.executable, __file__, "one", variant, size, str(count), str(frames), path]
                row = json.loads(
                    subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
                )
                saved[variant] = torch.load(path)
                row["differs_from_plain"] = {
                    key: float((value - saved["plain fp32"][key]).abs().max() / saved["plain fp32"][key].abs().max())
                    for key, value in saved[variant].items()
                }
                rows.append(row)
                plain = rows[-len(saved)]
                row["times_faster"] = round(plain["best_s"] / row["best_s"], 2)
                row["times_less_processor"] = round(plain["best_processor_s"] / row["best_processor_s"], 2)
                print(row, flush=True)
    dtypes = (torch.float32, torch.bfloat16) if FAST_BF16 else (torch.float32,)
    rates = {str(t).removeprefix("torch."): product_rate(t) for t in dtypes}
    results = {"size": size, "threads": torch.get_num_threads(), "product_gflop_per_processor_s": rates, "rows": rows}
    print(record(named("stream_published"), results))


def named(name: str) -> str:
    """Name of a record: a machine without bf16 instructions does not replace one that has them."""
    return name if FAST_BF16 else f"{name}_no_bf16"


def copies(size: str, cached: int, frames: int) -> None:
    """The small network, where copies weigh most. Variants take turns frame by frame."""
    shape, heads = parse_size(size), frozenset({"camera", "depth", "motion"})
    streams = {
        "plain fp32": open_prefilled("plain", random_model("small"), shape, cached, heads),
        "ours fp32": open_prefilled("ours", random_model("small").pack(), shape, cached, heads),
        "ours fp32, bf16 cache": open_prefilled(
            "ours", random_model("small").pack(), shape, cached, heads, torch.bfloat16
        ),
    }
    if FAST_BF16:
        streams["ours bf16"] = open_prefilled("ours", random_model("small", "bf16").pack(), shape, cached, heads)
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in streams}
    for i in range(frames):
        image = noise((1, 1, 3, *shape), i).abs()
        for name, stream in streams.items():
            begun, begun_cpu = time.perf_counter(), time.process_time()
            stream.step(image)
            seconds[name].append((time.perf_counter() - begun, time.process_time() - begun_cpu))
    attention = {
        name: 1e3 * median(attention_seconds(stream, image) for _ in range(9)) for name, stream in streams.items()
    }
    # The first steps set up kernels, and let our cache grow for once.
    medians = {name: [1e3 * median(column) for column in zip(*times[2:])] for name, times in seconds.items()}
    plain = medians["plain fp32"]
    rows = [
        {
            "variant": name,
            "median_ms": round(wall, 1),
            "median_processor_ms": round(cpu, 1),
            "times_faster": round(plain[0] / wall, 2),
            "times_less_processor": round(plain[1] / cpu, 2),
            "attention_processor_ms": round(attention[name], 1),
            "cache_mb": round(streams[name].cache.bytes / 1e6),
        }
        for name, (wall, cpu) in medians.items()
    ]
    for row in rows:
        print(row)
    results = {"size": size, "tokens": preset("small").tokens_per_frame(shape), "cached_frames": cached}
    print(record(named(f"stream_copies_{size}"), results | {"threads": torch.get_num_threads(), "rows": rows}))


def attention_seconds(stream: Any, image: Tensor) -> float:
    """Processor time a step spends in the attention kernel alone."""
    with KernelClock(ATTENTION) as clock:
        stream.step(image)
    return clock.processor_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    long = commands.add_parser("published")
    long.add_argument("--size", default="518x140")
    long.add_argument("--cached", type=int, nargs="+", default=[0, 11, 39])
    long.add_argument("--frames", type=int, default=3)
    short = commands.add_parser("copies")
    short.add_argument("--size", default="112x80")
    short.add_argument("--cached", type=int, default=500)
    short.add_argument("--frames", type=int, default=20)
    one = commands.add_parser("one")
    for name, kind in (("variant", str), ("size", str), ("cached", int), ("frames", int), ("outputs", str)):
        one.add_argument(name, type=kind)
    args = vars(parser.parse_args())
    command = args.pop("command")
    if command == "one":
        print(json.dumps(one_variant(**args)))
    else:
        {"published": published, "copies": copies}[command](**args)


if __name__ == "__main__":
    main()
