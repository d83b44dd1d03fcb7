"""`openmore doctor`: what is installed, what this machine can run, how many frames fit."""

from __future__ import annotations

from typing import Annotated

import typer

OPTIONAL = {
    "viser": "viewer",
    "skimage": "masks",
    "transformers": "masks",
    "matplotlib": "eval",
    "pxr": "export",
    "ray": "scale",
}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(doctor)


def doctor(
    width: Annotated[int, typer.Option(min=14, help="Frame width in pixels to plan for.")] = 518,
    height: Annotated[int, typer.Option(min=14, help="Frame height in pixels to plan for.")] = 294,
) -> None:
    """Check this installation and machine."""
    import torch

    versions()
    devices = [torch.device("cpu")]
    devices += [torch.device("cuda", i) for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append(torch.device("mps"))
    for device in devices:
        describe_device(device)
    weights_here()
    for device in devices:
        frames_that_fit(device, (height, width))


def versions() -> None:
    """Python, torch and the optional packages."""
    import platform
    from importlib.metadata import PackageNotFoundError, version
    from importlib.util import find_spec

    from openmore import __version__

    print(f"openmore {__version__}, python {platform.python_version()}, {platform.platform()}")
    for name in ("torch", "numpy", "av", "opencv-python-headless"):
        try:
            print(f"  {name} {version(name)}")
        except PackageNotFoundError:
            print(f"  {name} MISSING: pip install openmore")
    missing = {name: extra for name, extra in OPTIONAL.items() if find_spec(name) is None}
    for name, extra in missing.items():
        print(f"  {name} not installed (optional): pip install 'openmore[{extra}]'")


def describe_device(device) -> None:
    """Name, free memory and whether bf16 pays."""
    import torch

    from openmore.model.estimate import available_bytes
    from openmore.model.weights.load import fast_bf16

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    precision = "bf16" if fast_bf16(device) else "fp32"
    print(f"{device}: {name}, {available_bytes(device) / 1e9:.1f} GB free, default precision {precision}")


def weights_here() -> None:
    """Which weights are on this machine."""
    from openmore.model.weights.registry import REGISTRY, cache_folder, local_file

    here = [entry.name for entry in REGISTRY.values() if local_file(entry)]
    print(f"weights here: {', '.join(here) or 'none'} (cache folder {cache_folder()})")


def frames_that_fit(device, shape: tuple[int, int]) -> None:
    """Largest full-attention clip per architecture, and the cache a stream needs per frame."""
    import torch

    from openmore.io.sizing import Sizing
    from openmore.model.config import PRESETS
    from openmore.model.estimate import available_bytes, most_frames
    from openmore.model.weights.load import fast_bf16
    from openmore.streaming.cache import frame_bytes

    dtype = torch.bfloat16 if fast_bf16(device) else torch.float32
    available = available_bytes(device)
    for name in ("small", "more-full"):
        config = PRESETS[name]
        fitted = Sizing.fit(shape, config.image_size, config.patch_size).model_shape
        most = most_frames(config, fitted, dtype, available)
        cached = frame_bytes(config, config.tokens_per_frame(fitted), dtype, refinable=False)
        print(
            f"  {device} {name} at {fitted[1]}x{fitted[0]}: {most} frames at once; "
            f"streaming keeps {cached / 1e6:.1f} MB per remembered frame"
        )
