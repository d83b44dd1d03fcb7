"""The training loop.

Choices
- What is drawn depends on the step and on the number of the next clip (plan.py), which checkpoints keep: a resumed run
  sees the batches it would have seen.
- A step whose loss or gradient is not finite on any rank is skipped on all of them, and reported with its clips.
- Once a step all ranks agree whether to stop: signals and time budgets end a run at the same step everywhere, with a
  checkpoint.
- A periodic checkpoint that cannot be written is reported and training goes on; the last one must succeed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from openmore.errors import CheckpointError, ConfigError
from openmore.model.more import MoRe, RawOutput
from openmore.model.weights.load import fast_bf16
from openmore.training import checkpoint, optim, settings
from openmore.training.batch import Batch
from openmore.training.config import TrainConfig
from openmore.training.logbook import Logbook
from openmore.training.memory import recompute
from openmore.training.metrics import batch_metrics
from openmore.training.network_pass import TrainingPass
from openmore.training.objective import Losses
from openmore.training.plan import StepPlan, plan_steps, spaced_clips
from openmore.training.ranks import Ranks, agree, pick_parallel, spread, without_sync
from openmore.training.sheets import sheet, write_sheet
from openmore.training.sources import Source, batches, loader_processes, make_source
from openmore.training.window import Report, StepResult, Window

logger = logging.getLogger(__name__)
STOP_REASONS = ("signal", "time budget")


class Trainer:
    """One run in one folder. Made inside `ranks.joined`, where all ranks are present."""

    def __init__(
        self,
        config: TrainConfig,
        model: MoRe,
        out: Path,
        ranks: Ranks,
        source: Source | None = None,
        stop: Callable[[], str | None] = lambda: None,
        on_log: Callable[[int, dict[str, float]], None] = lambda step, values: None,
    ):
        """`stop` says why to stop after the current step (a word of STOP_REASONS) or None; `on_log` hears the log."""
        self.config, self.out, self.ranks, self.stop, self.on_log = config, out, ranks, stop, on_log
        self.model = self._ready(model)
        training_pass = TrainingPass(model, config.objective, config.passes)
        training_pass.freeze_idle()
        self.wrapped = spread(training_pass, pick_parallel(config.run.parallel, ranks.world), ranks)
        self.optimizer = optim.make_optimizer(model, config.optim)
        self.average = optim.Average(model, config.optim.ema) if config.optim.ema else None
        self.source = source or make_source(config.data, ranks.device)
        self.logbook = Logbook(out, config.run.tensorboard) if ranks.main else None
        self.step = self.clips = self.skipped = self.next_clip = 0
        self.last: dict[str, float] = {}
        self.saved: Path | None = None

    def _ready(self, model: MoRe) -> MoRe:
        if self.ranks.device.type == "cuda":
            torch.set_float32_matmul_precision("high")  # the float32 heads: TF32 products are exact enough
        if self.config.run.precision == "bf16" and not fast_bf16(self.ranks.device) and self.ranks.main:
            logger.warning(
                "bf16 is emulated on this device and can be ten times slower: --set run.precision=fp32 is faster here"
            )
        model.train().requires_grad_(True).to(self.ranks.device)
        model.half_heads = self.config.run.half_heads
        if self.ranks.device.type == "cpu" and self.ranks.world == 1:  # FSDP shards contiguous parameters only
            model.channels_last()
        optim.freeze(model, self.config.optim.freeze)
        if self.config.run.checkpointing:
            recompute(model)
        return model

    # -- resuming and saving -------------------------------------------------------------------------------------------

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints."""
        return self.out / "checkpoints"

    @property
    def _state(self) -> checkpoint.TrainState:
        return checkpoint.TrainState(self.model, self.optimizer, self.average)

    def resume(self) -> None:
        """Continue from the newest checkpoint, if any.

        Raises CheckpointError when it is damaged or of another network.
        """
        found = checkpoint.complete(self.checkpoints)
        if not found:
            return
        meta = checkpoint.read_meta(found[-1])
        before = settings.from_dict(TrainConfig, meta["config"])
        if before.model != self.config.model:
            raise CheckpointError(f"{found[-1]} is of the network {before.model}, this run of {self.config.model}")
        checkpoint.load(found[-1], self._state, self.ranks)
        self.step, self.clips, self.saved = meta["step"], meta["clips"], found[-1]
        done = self.step * before.optim.accumulate
        self.next_clip = meta.get("next_clip", spaced_clips(before.data, done, meta["processes"]))
        changed = settings.differences(before, self.config)
        self._note("resumed", changed=changed, processes_before=meta["processes"], processes=self.ranks.world)

    def save(self) -> None:
        """Write a checkpoint. Raises CheckpointError on all ranks when one of them cannot."""
        meta = {
            "config": settings.to_dict(self.config),
            "clips": self.clips,
            "next_clip": self.next_clip,
            "processes": self.ranks.world,
            "torch": torch.__version__,
        }
        keep = self.config.run.keep
        self.saved = checkpoint.save(self.checkpoints, self.step, self._state, self.ranks, meta, keep)
        self._note("saved", path=self.saved.name)

    def _save_if_possible(self) -> None:
        try:
            self.save()
        except CheckpointError as error:
            logger.warning("%s", error)
            self._note("save failed", reason=str(error))

    # -- the loop ------------------------------------------------------------------------------------------------------

    def run(self) -> Report:
        """Train to the end, or until `stop` speaks; ends with a checkpoint.

        Raises ConfigError when `max_skips` steps in a row had no finite loss.
        """
        started, clips_before, skipped_before = time.monotonic(), self.clips, self.skipped
        why = self._loop()
        if self.saved != checkpoint.folder_of(self.checkpoints, self.step):
            self.save()
        report = Report(
            step=self.step,
            stopped=why,
            seconds=time.monotonic() - started,
            clips=self.clips - clips_before,
            skipped=self.skipped - skipped_before,
            checkpoint=self.saved,
            last=self.last,
        )
        self._note("stopped", reason=why, seconds=report.seconds, clips=report.clips, skipped=report.skipped)
        return report

    def _loop(self) -> str:
        run, window, in_a_row = self.config.run, Window(), 0
        for result in self._steps():
            window.add(result)
            self._account(result)
            in_a_row = 0 if result.finite else in_a_row + 1
            if in_a_row >= run.max_skips:
                raise ConfigError(
                    f"no finite loss for {in_a_row} steps in a row at step {self.step}: lower optim.lr, or look at the "
                    f"skipped clips in {self.out / 'log.jsonl'}"
                )
            if self.step % run.log_every == 0 or self.step == self.config.optim.steps:
                self._log(window)
                window = Window()
            if reason := self._agreed_stop():
                if window.clips:  # a run shorter than `log_every` has something to say too
                    self._log(window)
                return reason
            if self.step % run.save_every == 0 and self.step < self.config.optim.steps:
                self._save_if_possible()
        return "finished"

    def _steps(self) -> Iterator[StepResult]:
        c, ranks, steps = self.config, self.ranks, range(self.step, self.config.optim.steps)
        patch, accumulate = self.model.config.patch_size, c.optim.accumulate
        plans = plan_steps(c.data, patch, steps, accumulate, ranks.world, self.next_clip)
        workers = loader_processes(c.data.workers, ranks.world, ranks.device)
        micro = batches(self.source, plans, workers, ranks)
        for _ in steps:
            yield self._optimise(list(islice(micro, accumulate)))

    def _optimise(self, micro: list[tuple[StepPlan, Batch]]) -> StepResult:
        """One optimiser step over its micro batches."""
        self.optimizer.zero_grad(set_to_none=True)
        terms: dict[str, Tensor] = {}
        for number, (plan, batch) in enumerate(micro, 1):
            with without_sync(self.wrapped, skip=number < len(micro)):
                losses, output = self._forward(batch, plan)
                (losses.total / len(micro)).backward()
            for name, value in {"loss": losses.total.detach(), **losses.terms}.items():
                terms[name] = terms.get(name, torch.zeros_like(value)) + value / len(micro)
        norms = optim.gradient_norms(self.model)
        result = StepResult(
            terms=terms,
            norms=norms,
            clips=sum(len(batch.images) for _, batch in micro) * self.ranks.world,
            names=tuple(name for _, batch in micro for name in batch.names),
            batch=batch,
            output=output,
            next_clip=plan.next_clip(self.ranks.world),
            finite=self._agreed_finite([terms["loss"], *norms.values()]),
        )
        if result.finite:
            self._move(norms)
        return result

    def _forward(self, batch: Batch, plan: StepPlan) -> tuple[Losses, RawOutput]:
        half = self.config.run.precision == "bf16"
        with torch.autocast(self.ranks.device.type, torch.bfloat16, enabled=half):
            return self.wrapped(batch, plan.coin, plan.seed)

    def _move(self, norms: dict[str, Tensor]) -> None:
        optim.clip_gradients(self.model, norms, self.config.optim)
        optim.set_lr(self.optimizer, optim.lr_factor(self.step, self.config.optim))
        self.optimizer.step()
        if self.average is not None:
            self.average.update()

    def _agreed_finite(self, values: list[Tensor]) -> bool:
        broken = ~torch.stack([v.detach().isfinite() for v in values]).all()
        return not bool(agree(broken.float()[None], "max"))

    def _agreed_stop(self) -> str | None:
        """Why to stop, if any rank wants to."""
        own = self.stop()
        flag = torch.tensor([1 + STOP_REASONS.index(own) if own else 0], device=self.ranks.device)
        chosen = int(agree(flag, "max"))
        return STOP_REASONS[chosen - 1] if chosen else None

    # -- reporting -----------------------------------------------------------------------------------------------------

    def _account(self, result: StepResult) -> None:
        """Count the step just done; look at it now and then."""
        if not result.finite:
            self.skipped += 1
            bad = result.not_finite()
            self._note("skipped", not_finite=bad, clips=list(result.names))
            logger.warning("step %d skipped: %s not finite", self.step, ", ".join(bad) or "a value of another process")
        self.step += 1
        self.clips += result.clips
        self.next_clip = result.next_clip
        run = self.config.run
        if self.ranks.main and run.metrics_every and self.step % run.metrics_every == 0:
            values = {k: float(v) for k, v in batch_metrics(result.output, result.batch).items()}
            self._note("metrics", **values)
            self.last |= values
        if self.ranks.main and run.sheet_every and self.step % run.sheet_every == 0:
            self._draw(result)

    def _draw(self, result: StepResult) -> None:
        config = self.model.config
        picture = sheet(result.output, result.batch, config.patch_size, config.first_patch)
        folder = self.out / "sheets"
        folder.mkdir(exist_ok=True)
        write_sheet(folder / f"{self.step:08d}.png", picture)
        if self.logbook is not None:
            self.logbook.picture(self.step, picture)

    def _log(self, window: Window) -> None:
        rate = optim.lr_factor(self.step - 1, self.config.optim) * self.config.optim.lr
        values = {**window.means(self.ranks.world), **window.rates(), "lr": rate, "skipped": window.skipped}
        if self.ranks.device.type == "cuda":
            values["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
        self._note("train", **values)
        self.last |= values
        self.on_log(self.step, self.last)

    def _note(self, event: str, **values: Any) -> None:
        if self.logbook is not None:
            self.logbook.write(event, self.step, **values)
