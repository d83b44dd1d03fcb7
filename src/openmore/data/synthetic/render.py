"""Rendering a batch of scenes: visibility, shading, camera, truth.

Choices
- Scenes of one batch are packed into slots, one range of slots per kind of primitive, zero rows where a scene has
  fewer: a zero row can never be hit.
- CPU: one frame at a time. GPU: chunks of frames, few large kernels.
- Memory stays bounded: `chunk` frames are in flight, results land in preallocated arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from openmore.data.synthetic.casting import first_hit, in_shadow, rays
from openmore.data.synthetic.optics import expose, metered_gain
from openmore.data.synthetic.scene import Scene
from openmore.data.synthetic.shading import shade
from openmore.data.synthetic.textures import TextureBank
from openmore.data.synthetic.truth import motion_during_shutter, truth_of

KINDS = 4
METER_GRID = (12, 16)


@dataclass
class Packed:
    """Tables of F frames of several scenes in common slots; the last slot (number `slots`) is the sky."""

    kind: list[int]  # [slots] kind of every slot
    hit: Tensor  # [F, slots, HIT_COLUMNS]
    shadow: Tensor  # [F, slots, SHADOW_COLUMNS]
    windows: np.ndarray  # [F, slots, 4]
    shadow_windows: np.ndarray  # [F, slots, 4]
    look: Tensor  # [F, LOOK_ROWS, slots + 1]
    textures: Tensor  # [F, 2, slots + 1] int64
    flows: Tensor  # [F, 24, slots + 1]
    labels: Tensor  # [F, 2, slots + 1] int32
    frame: dict[str, Tensor]  # [F, n] each
    noise_start: Tensor  # [F] int64
    jpeg_quality: np.ndarray  # [F] int64, 0 = none
    shutter_open: np.ndarray  # [F] bool, the frame has motion blur
    shape: tuple[int, int]

    @property
    def slots(self) -> int:
        return len(self.kind)

    def __len__(self) -> int:
        return len(self.hit)

    @property
    def blurred(self) -> Tensor:
        """[N] int64, numbers of the frames with motion blur."""
        return torch.from_numpy(np.flatnonzero(self.shutter_open)).to(self.hit.device)

    def pick(self, frames: slice | Tensor) -> Packed:
        """Some of the frames; a slice gives views."""
        on_host = frames if isinstance(frames, slice) else frames.numpy()
        return Packed(
            kind=self.kind,
            hit=self.hit[frames],
            shadow=self.shadow[frames],
            windows=self.windows[on_host],
            shadow_windows=self.shadow_windows[on_host],
            look=self.look[frames],
            textures=self.textures[frames],
            flows=self.flows[frames],
            labels=self.labels[frames],
            frame={key: value[frames] for key, value in self.frame.items()},
            noise_start=self.noise_start[frames],
            jpeg_quality=self.jpeg_quality[on_host],
            shutter_open=self.shutter_open[on_host],
            shape=self.shape,
        )


def pack(scenes: list[Scene], device: torch.device | str = "cpu") -> Packed:
    """Tables of all scenes, their frames one after another. All scenes have one shape; lengths may differ."""
    parts = [scene.tables for scene in scenes]
    counts = np.stack([np.bincount(part.kind, minlength=KINDS) for part in parts])
    room = counts.max(0)
    starts = np.concatenate(([0], np.cumsum(room)))
    slots = [np.concatenate([starts[k] + np.arange(n) for k, n in enumerate(count)]) for count in counts]
    total = int(room.sum())

    def spread(name: str, axis: int, extra: int) -> np.ndarray:
        """Concatenate over frames after moving each scene's primitives (and the sky) to their slots."""
        out = []
        for part, slot in zip(parts, slots):
            value = getattr(part, name)
            shape = list(value.shape)
            shape[axis] = total + extra
            spaced = np.zeros(shape, value.dtype)
            index = [slice(None)] * value.ndim
            index[axis] = np.concatenate((slot, [total])) if extra else slot  # type: ignore[call-overload]
            spaced[tuple(index)] = value
            out.append(spaced)
        return np.concatenate(out)

    def tensor(value: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(value)).to(device)

    lengths = [len(scene.times_s) for scene in scenes]
    return Packed(
        kind=np.repeat(np.arange(KINDS), room).tolist(),
        hit=tensor(spread("hit", 1, 0)),
        shadow=tensor(spread("shadow", 1, 0)),
        windows=spread("windows", 1, 0),
        shadow_windows=spread("shadow_windows", 1, 0),
        look=tensor(spread("look", 2, 1)),
        textures=tensor(spread("textures", 2, 1)),
        flows=tensor(spread("flows", 2, 1)),
        labels=tensor(spread("labels", 2, 1)),
        frame={key: tensor(np.concatenate([part.frame[key] for part in parts])) for key in parts[0].frame},
        noise_start=tensor(np.concatenate([scene.optics.noise_start for scene in scenes])),
        jpeg_quality=np.repeat([scene.optics.jpeg_quality for scene in scenes], lengths),
        shutter_open=np.repeat([scene.optics.shutter > 0 for scene in scenes], lengths),
        shape=scenes[0].shape,
    )


def render(
    scenes: list[Scene], bank: TextureBank, device: torch.device | str = "cpu", chunk: int | None = None,
    tiled: bool | None = None, flow: bool = True,
) -> dict[str, Tensor]:  # fmt: skip
    """Render scenes of one shape.

    Args:
        chunk: frames in flight; default 1 on CPU, 128 elsewhere.
        tiled: cast rays in tiles (see casting.py); default except on CPU.
        flow: also compute optical flow.

    Returns:
        images uint8 [F, 3, H, W]; depth float32 [F, H, W]; instances int32; motion uint8; sky bool; and with `flow`
        flow_forward, flow_backward float32 [F, 2, H, W]. Frames of all scenes one after another.
    """
    on_cpu = torch.device(device).type == "cpu"
    chunk = chunk or (1 if on_cpu else 128)
    tiled = not on_cpu if tiled is None else tiled
    packed = pack(scenes, device)
    with _one_thread_per_frame(on_cpu) as share_out:
        _meter(packed, [len(scene.times_s) for scene in scenes], bank, chunk, tiled)
        out: dict[str, Tensor] = {}

        def work(start: int) -> None:
            part = packed.pick(slice(start, start + chunk))
            for key, value in _render_part(part, bank, tiled, flow).items():
                if key not in out:
                    out[key] = torch.empty((len(packed), *value.shape[1:]), dtype=value.dtype, device=value.device)
                out[key][start : start + len(part)] = value

        work(0)  # alone: it makes the arrays
        list(share_out(work, range(chunk, len(packed), chunk)))
    return out


@contextmanager
def _one_thread_per_frame(on_cpu: bool) -> Iterator[Callable[[Callable[[int], None], Iterable[int]], Iterable[None]]]:
    """Yields a `map` that shares its calls out among as many threads as torch has for the CPU.

    Frames, not operations, go to threads: a frame's arrays are too small to split, and threads that wait for each
    other inside every operation come to a crawl on a busy machine.
    """
    threads = torch.get_num_threads()
    if not on_cpu or threads == 1:
        yield map
        return
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads) as pool:
            yield pool.map
    finally:
        torch.set_num_threads(threads)


def _meter(packed: Packed, lengths: list[int], bank: TextureBank, chunk: int, tiled: bool) -> None:
    """Multiply every clip's gain by what a coarse look at its first frame asks for."""
    first = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    gains = []
    for start in range(0, len(first), chunk):
        frames = torch.from_numpy(first[start : start + chunk])
        linear, _, _, sky = _light(_coarse(packed.pick(frames)), bank, tiled)
        gains.append(metered_gain(linear, sky))
    packed.frame["gain"] *= torch.cat(gains).repeat_interleave(torch.tensor(lengths, device=gains[0].device), 0)


def _coarse(packed: Packed) -> Packed:
    """The same frames on a grid of METER_GRID rays."""
    height, width = packed.shape
    rows, columns = METER_GRID[0] / height, METER_GRID[1] / width
    size = torch.tensor([columns, rows, columns, rows], device=packed.hit.device)
    scale = np.array([rows, rows, columns, columns])
    return replace(
        packed,
        shape=METER_GRID,
        frame=packed.frame | {"K": packed.frame["K"] * size},
        windows=_scale_windows(packed.windows, scale),
        shadow_windows=_scale_windows(packed.shadow_windows, scale),
    )


def _scale_windows(windows: np.ndarray, scale: np.ndarray) -> np.ndarray:
    scaled = np.ceil(windows * scale).astype(np.int64)
    scaled[..., ::2] = np.floor(windows[..., ::2] * scale[::2])
    return scaled


def _light(
    packed: Packed, bank: TextureBank, tiled: bool
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor], Tensor, Tensor]:
    """Linear light [3, F, H, W], surface points X, Y, Z [F, H, W] (the ray for the sky), slots and sky mask."""
    x, y = rays(packed)
    z, slot = first_hit(packed, x, y, tiled)
    sky = slot == packed.slots
    z = z.masked_fill(sky, 1.0)  # the sky is looked up, and flows, by direction
    points = (x * z, y * z, z)
    dark = in_shadow(packed, points, tiled)
    return shade(packed, bank, x, y, z, slot, sky, dark), points, slot, sky


def _render_part(packed: Packed, bank: TextureBank, tiled: bool, flow: bool) -> dict[str, Tensor]:
    linear, points, slot, sky = _light(packed, bank, tiled)
    out = truth_of(packed, points, slot, sky, flow)
    motion = None
    if packed.shutter_open.any():
        blurred = packed.blurred
        seen = [p[blurred] for p in (*points, slot)]
        motion = motion_during_shutter(packed.pick(blurred.cpu()), (seen[0], seen[1], seen[2]), seen[3])
    out["images"] = expose(packed, linear, slot, motion)
    return out
