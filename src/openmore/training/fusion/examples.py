"""Examples for the fusion network: the cues of synthetic clips, as `openmore reconstruct` meets them, and their truth.

Choices
- The whole default pipeline runs on every clip, so cues have the errors of its cameras, flow and depth.
- Clips come in the sizes of SHAPES, at which flow sees more than the grid of the answers does; every other ten wear
  photographs where a folder of them is given.
- The solver's scale is its own: truth is brought to it by one factor a clip, the median over what is surely measured.
- One folder a clip, SEED/example.npz or SEED/unsolved, there whole or not at all: collecting goes on where it was
  stopped. Files SEED.npz, as earlier versions wrote them, are examples too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from openmore.data.sample import Sample
from openmore.data.synthetic import make_clip
from openmore.errors import DataError, InputError
from openmore.io.atomic import atomic_file
from openmore.model.more import MoRe
from openmore.refinement.dense.cues import CHANNELS, Cues
from openmore.refinement.dense.fusion import MOST_CHANGE

FIRST_SEED = 1_500_000  # seeds of evaluation lie below a million
SHAPES = ((168, 224),) * 6 + ((288, 384),) * 2 + ((216, 384),) * 2  # by the last digit of the seed
SURE = 0.8  # of the channel measured_trust: ten percent
FEW = 0.02  # share of the pixels that must be surely measured
FILE, UNSOLVED = "example.npz", "unsolved"  # in the folder of a clip


@dataclass(frozen=True)
class Example:
    """One clip. S frames of H x W pixels."""

    cues: np.ndarray  # [S, C, H, W] float32, or float16 as it lies on disk: most of it is never looked at
    level: np.ndarray  # [S] log inverse depth at which depth channels are 0
    depth: np.ndarray  # [S, H, W] float32, true, 0 = none
    motion: np.ndarray  # [S, H, W] uint8: 1 moves, 255 unknown
    measured: np.ndarray  # [S] bool, frames with parallax

    @property
    def completed(self) -> np.ndarray:
        """Log inverse depth [S, H, W] before settling."""
        return self.channel("completed") + self.level[:, None, None].astype(np.float32)

    def channel(self, name: str) -> np.ndarray:
        """One of the cues, [S, H, W] float32."""
        return self.cues[:, CHANNELS.index(name)].astype(np.float32)

    def correction(self) -> np.ndarray | None:
        """[S, H, W] float32 what the completed log inverse depth lacks; None for a clip without a scale."""
        valid, completed = self.depth > 0, self.completed
        true = -np.log(np.where(valid, self.depth, 1))
        sure = valid & self.measured[:, None, None] & (self.channel("measured_trust") > SURE) & (self.motion != 1)
        if sure.mean() < FEW:
            sure = valid
        if sure.mean() < FEW:
            return None
        off = true - completed
        return np.clip(off - np.median(off[sure]), -MOST_CHANGE, MOST_CHANGE).astype(np.float32)


def collect(seed: int, model: MoRe, textures: str | None = None, frames: int = 8) -> Example | None:
    """Render one clip, reconstruct it and keep its cues; None where no camera could be solved."""
    from openmore.pipeline import reconstruct
    from openmore.refinement.apply import refine_predictions, working_picture

    clip = make_clip(seed, frames, SHAPES[seed % 10], textures=textures if seed // 10 % 2 == 0 else None)
    scene = reconstruct(clip.images, model, refine="none")
    found: dict[int, Cues] = {}
    pictures = [working_picture(image) for image in clip.images]
    _, report, _ = refine_predictions(list(scene.frames), pictures, fuse=found.__setitem__)
    if len(found) < frames or report.dense is None:
        return None
    measured = np.array([source != "network" for source in report.dense.depth_sources])
    return _beside([found[s] for s in range(frames)], clip, measured)


def _beside(cues: list[Cues], clip: Sample, measured: np.ndarray) -> Example:
    """Cues with the truth at their pixels."""
    values = np.stack([c.values for c in cues])
    at = [((np.arange(n) + 0.5) * full / n).astype(int) for n, full in zip(values.shape[-2:], clip.shape)]
    depth, motion, valid = (
        np.asarray(field)[:, at[0][:, None], at[1]] for field in (clip.depth, clip.motion, clip.valid)
    )
    depth = np.where(valid, depth, 0).astype(np.float32)
    return Example(values, np.array([c.level for c in cues]), depth, motion.astype(np.uint8), measured)


def save(example: Example, path: Path) -> None:
    """One file, whole or not at all; cues as float16."""
    with atomic_file(path) as file:
        np.savez(
            file, values=example.cues.astype(np.float16), level=example.level, depth=example.depth,
            motion=example.motion, measured=example.measured,
        )  # fmt: skip


def load(path: Path) -> Example:
    """Read one. Raises DataError for a file that is none, or has other cues than this version."""
    try:
        with np.load(path) as data:
            values, level, depth, motion, measured = (
                data[k] for k in ("values", "level", "depth", "motion", "measured")
            )
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        made = path.parent if path.name == FILE else path
        raise DataError(f"{path} is no example of cues ({error}): remove {made} and collect again") from error
    if values.ndim != 4 or values.shape[1] != len(CHANNELS):
        raise DataError(f"{path} has cues {list(values.shape)}, expected {len(CHANNELS)} channels: collect again")
    return Example(values, level, depth, motion, measured)


def listed(folder: Path) -> list[Path]:
    """The examples of a folder. Raises InputError where there is none."""
    files = sorted((*folder.glob("*.npz"), *folder.glob(f"*/{FILE}")))
    if not files:
        raise InputError(f"{folder} holds no examples: make some with openmore fusion collect")
    return files


@lru_cache(maxsize=1)
def network() -> MoRe:
    """`small`, whose guesses the cues hold."""
    return MoRe.from_pretrained("small").pack()
