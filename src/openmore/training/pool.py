"""Synthetic clips kept on disk: rendered once, trained on many times, each time seen differently.

Where one processor both renders and trains, rendering eats the training. A pool holds `data.pool_scenes` clips; a
step draws clips by number and sees some of their frames, in either order of time, mirrored or not, zoomed into and
recoloured.

Choices
- A block of BLOCK clips is one folder of plain .npy files, read through memory maps; a missing block is rendered when
  it is first asked for, so a pool can be filled ahead, during training, or never completed.
- Depth is kept as float16 (three digits), sky as depth 0.
- The draw depends on `data.seed` and the clip's number alone, as everywhere in training: resuming is exact. The
  pool itself is the same for every seed.
- With photographs (`data.textures`) every third block wears them, the others the procedural textures.
- `pool.json` says what the blocks were rendered with, and is written once. Older ones do not say intervals and
  textures: there nothing is compared.
- What a killed process was writing is cleared an hour later: a block takes seconds to write, so no process still does.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from openmore.data.synthetic import Recipe, SyntheticBatch, make_batch
from openmore.errors import ConfigError, DataError
from openmore.io.atomic import write_json
from openmore.training.batch import Batch
from openmore.training.config import DataConfig
from openmore.training.plan import StepPlan

BLOCK = 16
UNFINISHED = "new_"  # how the names of folders begin that hold half a block
STALE_S = 3600  # seconds after which nobody writes to such a folder any more
ZOOM = (0.55, 1.0)  # share of the largest window of the wanted shape that a crop keeps
BURNT = (0.4, 1.1)  # share of clips that are overexposed, largest logarithm of the gain
FIELDS = ("images", "depth", "motion", "K", "world_from_cam")


class Pool:
    """The folder of rendered blocks."""

    def __init__(self, config: DataConfig, first_seed: int):
        assert config.pool is not None
        self.folder, self.config, self.first_seed = Path(config.pool), config, first_seed
        self.blocks = max(1, config.pool_scenes // BLOCK)
        self._check()
        self._clear()

    def _check(self) -> None:
        """One pool, one setting: blocks rendered otherwise must not be mixed in. Raises ConfigError, DataError."""
        c, path = self.config, self.folder / "pool.json"
        setting = {
            "first_seed": self.first_seed,
            "frames": c.pool_frames,
            "shape": list(c.pool_shape),
            "interval": list(c.interval),
            "textures": None if c.textures is None else str(Path(c.textures).resolve()),
        }
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(path, setting)
            return
        found = _read(path)
        if differing := [name for name in found if found[name] != setting.get(name)]:
            has, asked = ({name: of.get(name) for name in differing} for of in (found, setting))
            raise ConfigError(f"{self.folder} is a pool of {has}, not of {asked}: give another folder as data.pool")

    def _clear(self) -> None:
        """Remove what killed processes left."""
        for left in self.folder.glob(f"{UNFINISHED}*"):
            with suppress(FileNotFoundError):  # another process may clear at the same time
                if time.time() - left.stat().st_mtime > STALE_S:
                    shutil.rmtree(left, ignore_errors=True)

    def clip(self, number: int) -> dict[str, np.ndarray]:
        """Everything known of clip `number`, as memory maps: arrays named by FIELDS, one leading axis of frames."""
        block, row = divmod(number % (self.blocks * BLOCK), BLOCK)
        folder = self.fill(block)
        return {name: np.load(folder / f"{name}.npy", mmap_mode="r")[row] for name in FIELDS}

    def fill(self, block: int) -> Path:
        """The folder of a block, rendered now if it is not there yet."""
        folder = self.folder / f"{block:05d}"
        if folder.is_dir():
            return folder
        rendered = self._render(block)
        fresh = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=self.folder))
        try:
            for name, value in rendered.items():
                np.save(fresh / f"{name}.npy", value)
            if not folder.is_dir():  # another process may have been faster: the bytes are the same
                fresh.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        return folder

    def _render(self, block: int) -> dict[str, np.ndarray]:
        c = self.config
        seeds = [self.first_seed + block * BLOCK + i for i in range(BLOCK)]
        textures = c.textures if block % 3 == 2 else None
        made = make_batch(seeds, c.pool_frames, c.pool_shape, recipe=Recipe(intervals=c.interval), textures=textures)
        return as_arrays(made)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}): if the pool is of these settings, remove it") from error
    if not isinstance(found, dict):
        raise DataError(f"{path} holds no settings of a pool: if the pool is of these settings, remove it")
    return found


def as_arrays(made: SyntheticBatch) -> dict[str, np.ndarray]:
    """What a block keeps of a rendered batch, narrow and pixel-last."""
    return {
        "images": (made.images * 255).round().byte().numpy(),
        "depth": torch.where(made.sky, 0, made.depth).clamp(max=6e4).half().numpy(),
        "motion": made.motion.numpy(),
        "K": made.K.numpy(),
        "world_from_cam": made.world_from_cam.numpy(),
    }


class PoolSource:
    """Batches drawn from a pool."""

    def __init__(self, config: DataConfig, first_seed: int):
        """Raises ConfigError for settings that contradict the pool, DataError for one that cannot be read."""
        if config.difficulty_steps:
            raise ConfigError(
                f"data.difficulty_steps={config.difficulty_steps} has no effect on rendered clips: set it to 0, or "
                "leave data.pool out"
            )
        if config.frames[1] > config.pool_frames:
            raise ConfigError(
                f"data.frames goes up to {config.frames[1]}, but the pool's clips have {config.pool_frames} "
                "frames: raise data.pool_frames or lower data.frames"
            )
        self.config, self.pool = config, Pool(config, first_seed)

    def prepare(self, plan: StepPlan, rank: int) -> Batch:
        """Draw, cut and recolour the clips of one rank."""
        clips = [self._draw(plan, number) for number in plan.clip_numbers(rank)]
        stacked = {name: torch.stack([clip[name] for clip in clips]) for name in clips[0]}
        return Batch(**stacked)  # type: ignore[arg-type]

    def finish(self, prepared: Batch, device: torch.device) -> Batch:
        """To the training device."""
        return prepared.to(device)

    def _draw(self, plan: StepPlan, number: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self.config.seed, number))
        clip = self.pool.clip(int(rng.integers(2**31)))
        frames = np.sort(rng.choice(self.config.pool_frames, plan.frames, replace=False))
        if rng.random() < 0.5:
            frames = frames[::-1]
        tensors = {name: torch.from_numpy(np.array(value[frames])) for name, value in clip.items()}
        tensors = cut(tensors, plan.shape, float(rng.uniform(*ZOOM)))
        if rng.random() < 0.5:
            tensors = mirror(tensors)
        tensors["images"] = recolour(tensors["images"], rng)
        return tensors | {"valid": tensors["depth"] > 0}


def cut(clip: dict[str, Tensor], shape: tuple[int, int], zoom: float) -> dict[str, Tensor]:
    """The middle of the pictures, resized to `shape`; the principal point stays in the middle."""
    height, width = clip["images"].shape[-2:]
    scale = min(height / shape[0], width / shape[1]) * zoom
    h, w = round(shape[0] * scale), round(shape[1] * scale)
    top, left = (height - h) // 2, (width - w) // 2
    window = {name: clip[name][..., top : top + h, left : left + w] for name in ("images", "depth", "motion")}
    K = clip["K"].clone()
    K[:, 0, 2], K[:, 1, 2] = K[:, 0, 2] - left, K[:, 1, 2] - top
    size = K.new_tensor([shape[1] / w, shape[0] / h, 1.0])
    images = F.interpolate(window["images"].float() / 255, shape, mode="bilinear", antialias=True)
    nearest = {name: F.interpolate(window[name][:, None].float(), shape)[:, 0] for name in ("depth", "motion")}
    return {
        "images": images,
        "depth": nearest["depth"],
        "motion": nearest["motion"].byte(),
        "K": K * size[:, None],
        "world_from_cam": clip["world_from_cam"],
    }


def mirror(clip: dict[str, Tensor]) -> dict[str, Tensor]:
    """Left and right exchanged, in the pictures and in the world. Pixel u becomes W - 1 - u: centres are integers."""
    width = clip["images"].shape[-1]
    flip = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0]))
    K = clip["K"].clone()
    K[:, 0, 2] = width - 1 - K[:, 0, 2]
    pictures = {name: clip[name].flip(-1) for name in ("images", "depth", "motion")}
    return {**pictures, "K": K, "world_from_cam": flip @ clip["world_from_cam"] @ flip}


def recolour(images: Tensor, rng: np.random.Generator) -> Tensor:
    """One gain per channel, gamma and saturation for the whole clip; some clips are burnt out.

    Without overexposed clips a white table looks like the sky.
    """
    burnt = float(rng.uniform(0, BURNT[1])) if rng.random() < BURNT[0] else 0.0
    gains = torch.from_numpy(np.exp(rng.normal(0, 0.1, (3, 1, 1)) + burnt)).float()
    gamma, colour = float(np.exp(rng.normal(0, 0.2))), float(rng.uniform(0.3, 1.2))
    grey = images.mean(-3, keepdim=True)
    return ((grey + colour * (images - grey)).clamp(1e-4, 1) ** gamma * gains).clamp(0, 1)
