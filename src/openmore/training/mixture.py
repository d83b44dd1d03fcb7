"""Batches from data sets on disk: which sets in which proportion, cut, resized, recoloured.

`data.source` lists them as `name:folder` or `name:folder*weight`, separated by commas, for example
`dynamic_replica:/data/dr*2,point_odyssey:/data/po`. Names are those of openmore.data.datasets; options of a reader
stand behind its folder: `posed_folder:/data/own?depth_scale=1000*2`.
"""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import torch

from openmore.data.augment import ColourJitter, jitter_colours, resize_and_crop
from openmore.data.clips import ClipBatch, ClipSampler, Share
from openmore.data.datasets.base import FrameDataset
from openmore.data.datasets.registry import open_dataset
from openmore.data.sample import Sample
from openmore.errors import ConfigError, DataError
from openmore.training.batch import Batch, collate
from openmore.training.config import DataConfig
from openmore.training.plan import StepPlan


def parse_source(text: str) -> list[tuple[str, str, float]]:
    """(data set, folder, weight) of every entry. Raises ConfigError for an entry that is none."""
    entries = []
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, separator, rest = entry.partition(":")
        folder, _, weight = rest.partition("*")
        try:
            entries.append((name.strip(), folder.strip(), float(weight or 1)))
        except ValueError as error:
            raise ConfigError(f"data.source: {weight!r} in {entry!r} is no weight") from error
        if not separator or not folder.strip():
            raise ConfigError(f"data.source: {entry!r} is not name:folder, for example point_odyssey:/data/po")
    if not entries:
        raise ConfigError(
            "data.source is empty: set it to synthetic, or to data sets as name:folder,name:folder*weight"
        )
    return entries


class DatasetSource:
    """Clips of a mixture of data sets; clip numbers come from the plan."""

    def __init__(self, config: DataConfig, mixture: list[Share]):
        self.config = config
        self.sampler = ClipSampler(
            mixture,
            config.images_per_rank,
            config.frames,
            config.interval,
            config.seed,
            shuffle=config.shuffle,
            on_bad=config.on_bad,
        )

    def prepare(self, plan: StepPlan, rank: int) -> Batch:
        """Decode, resize, recolour; damaged clips are skipped or stop the run, as configured."""
        clips = [self.sampler.clip(number, plan.frames, plan.interval) for number in plan.clip_numbers(rank)]
        batch = ClipBatch(plan.step, plan.frames, plan.interval, tuple(clips))
        samples = self.sampler.load(batch, on_bad=self.config.on_bad)
        return collate([self._augment(sample, plan, clip.number) for sample, clip in zip(samples, clips)])

    def finish(self, prepared: Batch, device: torch.device) -> Batch:
        """To the training device."""
        return prepared.to(device)

    def _augment(self, sample: Sample, plan: StepPlan, number: int) -> Sample:
        rng = np.random.default_rng((self.config.seed, number))
        jitter = ColourJitter(probability=self.config.colour, per_clip=self.config.colour_per_clip)
        return jitter_colours(resize_and_crop(sample, plan.shape), rng, jitter)


def dataset_source(config: DataConfig) -> DatasetSource:
    """Open everything `config.source` names. Raises ConfigError, DataError."""
    entries = parse_source(config.source)
    return DatasetSource(config, [Share(tried(name, folder), weight) for name, folder, weight in entries])


def tried(name: str, folder: str) -> FrameDataset:
    """The data set, one frame of it read: an option it lacks is one line here, a traceback out of a loader process."""
    dataset = open_dataset(name, folder)
    for sequence in dataset.names()[:1]:
        with suppress(DataError):  # a damaged clip is for `on_bad` to judge
            dataset.load(sequence, dataset.frame_ids(sequence)[:1])
    return dataset
