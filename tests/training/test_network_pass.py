"""The pass: switches do what they say, forcing acts through the real network, gradients go where they should."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from openmore.errors import ConfigError
from openmore.model.config import preset
from openmore.model.more import MoRe
from openmore.training.losses.attention import AttentionForcingConfig
from openmore.training.losses.camera import CameraConfig
from openmore.training.network_pass import PassConfig, TrainingPass
from openmore.training.objective import ObjectiveConfig, StreamGradient, Weights
from openmore.training.recipes import from_scratch
from tests.training.toy import toy_batch

NOTHING = Weights(camera=0, duplicate=0, depth=0, points=0, motion=0, attention=0)


@pytest.fixture(scope="module")
def model() -> MoRe:
    torch.manual_seed(0)
    model = MoRe(preset("tiny"))
    with torch.no_grad():  # layer scales of 0.01 would hide what blocks do
        for name, p in model.named_parameters():
            if name.endswith("gamma"):
                p.fill_(0.5)
            elif "token" in name:
                p.normal_(std=0.3)
    return model


def total(model: MoRe, loss: ObjectiveConfig, passes: PassConfig | None = None, **options: float) -> Tensor:
    losses, _ = TrainingPass(model, loss, passes or PassConfig())(toy_batch(), **options)
    return losses.total


@pytest.mark.parametrize("attention", ["full", "causal", "token_causal", "mixed"])
def test_every_attention_gives_finite_losses_and_gradients(model: MoRe, attention: str) -> None:
    step = TrainingPass(model, from_scratch(), PassConfig(attention=attention))  # type: ignore[arg-type]
    losses, output = step(toy_batch(), coin=0.9, seed=1)
    assert losses.total.isfinite() and all(v.isfinite() for v in losses.terms.values())
    assert bool(output.refined_pose_codes) == (attention != "full")
    assert {"camera", "depth", "points", "motion", "attention", "correspondence"} <= losses.terms.keys()


def test_a_mixed_pass_follows_the_coin(model: MoRe) -> None:
    step = TrainingPass(model, from_scratch(), PassConfig(attention="mixed"))
    assert "duplicate" not in step(toy_batch(), coin=0.49)[0].terms
    assert "duplicate" in step(toy_batch(), coin=0.5)[0].terms


@pytest.mark.parametrize("blocks", ["frame", "global"])
@pytest.mark.parametrize("scope", ["own", "visible"])
@pytest.mark.parametrize("variant", ["release", "baseline", "kl"])
def test_a_step_down_the_forcing_gradient_turns_the_camera_away_from_movers(blocks, scope, variant) -> None:
    torch.manual_seed(0)
    model = MoRe(preset("tiny"))
    with torch.no_grad():
        model.aggregator.camera_token.normal_()
        for block in [*model.aggregator.frame_blocks, *model.aggregator.global_blocks]:
            block.ls1.gamma.fill_(1.0)
    forcing = AttentionForcingConfig(variant, c0=0.0, blocks=blocks, scope=scope, layers="last")
    step = TrainingPass(
        model, ObjectiveConfig(weights=replace(NOTHING, motion=1e-9, attention=1.0), attention=forcing), PassConfig()
    )
    batch = toy_batch(moving=1 / 3)
    where = (blocks, model.config.depth - 1)

    def on_movers() -> tuple[Tensor, Tensor]:
        losses, output = step(batch)
        rows = output.readouts[where] if blocks == "frame" else output.readouts[where].unflatten(-1, (3, -1))
        patches = rows[..., model.config.first_patch :].unflatten(-1, (2, 3))
        share = patches[..., 0].sum(-1) / patches.sum((-1, -2))
        return losses.total, share.mean()

    loss, before = on_movers()
    loss.backward()
    with torch.no_grad():
        for p in model.parameters():
            if p.grad is not None:
                p -= 0.05 * p.grad / p.grad.norm().clamp_min(1e-12)
    assert on_movers()[1] < before


def test_global_rows_are_the_attention_of_the_block(model: MoRe) -> None:
    """Causal: a row spends nothing on later frames; over the rest it sums to one."""
    forcing = AttentionForcingConfig("baseline", blocks="global", layers="last_third", scope="visible")
    loss = ObjectiveConfig(weights=replace(NOTHING, motion=1.0, attention=1.0), attention=forcing)
    step = TrainingPass(model, loss, PassConfig(attention="causal", duplicates=False))
    _, output = step(toy_batch())
    rows = output.readouts["global", 3].unflatten(-1, (3, -1)).sum(-1)  # [B, heads, S, S]
    torch.testing.assert_close(rows.sum(-1), torch.ones(2, 2, 3))
    assert rows.triu(1).abs().max() == 0 and rows[..., 2, 0].min() > 0


def test_frames_that_cannot_be_seen_are_no_labels(model: MoRe) -> None:
    forcing = AttentionForcingConfig("baseline", blocks="global", scope="visible")
    loss = ObjectiveConfig(weights=replace(NOTHING, motion=1.0, attention=1.0), attention=forcing)
    step = TrainingPass(model, loss, PassConfig(attention="causal", window=1))
    batch = toy_batch(S=4)
    rows = step._attention(step(batch)[1], batch, causal=True)[0]
    seen = rows.known[0].unflatten(-1, (4, -1)).any(-1)
    assert seen.tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 1, 1]]
    tokens = model.config.tokens_per_frame(batch.shape)
    assert isinstance(rows.visible, Tensor)
    assert (rows.visible.flatten() / tokens).tolist() == [1, 2, 3, 3]


STREAM = ObjectiveConfig(
    weights=replace(NOTHING, camera=1.0), camera=CameraConfig(form="relative_release"), stream_gradient="none"
)


@pytest.mark.parametrize("truncation", ["none", "G1", "G2", "G3"])
def test_stream_gradients_are_truncated_as_named(model: MoRe, truncation: StreamGradient) -> None:
    step = TrainingPass(model, replace(STREAM, stream_gradient=truncation), PassConfig(attention="causal"))
    batch = toy_batch(S=4)
    batch.images.requires_grad_()
    losses, output = step(batch)
    codes = output.pose_codes[-1]
    on_codes, on_images = torch.autograd.grad(losses.total, (codes, batch.images), allow_unused=True)
    reached = [bool(on_codes[:, t].abs().max() > 0) for t in range(4)]
    assert reached == {"none": [1, 1, 1, 1], "G1": [0, 1, 1, 1], "G2": [1, 1, 1, 1], "G3": [0, 0, 1, 1]}[truncation]
    assert (on_images is None or on_images.abs().max() == 0) == (truncation == "G2")


def test_g2_keeps_the_duplicates_gradient_and_all_values(model: MoRe) -> None:
    both = replace(STREAM, weights=replace(NOTHING, camera=1.0, duplicate=1.0))
    passes = PassConfig(attention="causal")
    whole, truncated = (total(model, replace(both, stream_gradient=g), passes) for g in ("none", "G2"))
    torch.testing.assert_close(whole, truncated)
    slope = torch.autograd.grad(truncated, model.aggregator.camera_token)[0]
    assert slope.abs().max() > 0


def test_truncating_pairs_of_an_absolute_loss_is_refused(model: MoRe) -> None:
    with pytest.raises(ConfigError, match=r"camera\.form is absolute"):
        TrainingPass(model, ObjectiveConfig(stream_gradient="G1"), PassConfig(attention="causal"))


def test_nothing_to_train_is_refused(model: MoRe) -> None:
    with pytest.raises(ConfigError, match="nothing to train"):
        TrainingPass(model, ObjectiveConfig(weights=NOTHING), PassConfig())


def test_heads_without_weight_do_not_run_and_do_not_wait_for_gradients(model: MoRe) -> None:
    loss = ObjectiveConfig(weights=replace(NOTHING, depth=1.0))
    step = TrainingPass(model, loss, PassConfig())
    losses, output = step(toy_batch())
    assert output.points is None and output.motion_logits is None and not output.pose_codes
    losses.total.backward()
    without = {name for name, p in model.named_parameters() if p.grad is None}
    idle = set(step.freeze_idle())
    assert without == idle and any(name.startswith("motion_head") for name in idle)
    model.requires_grad_(True).zero_grad(set_to_none=True)


def test_recomputation_changes_no_gradient() -> None:
    from openmore.training.memory import recompute

    gradients = []
    for again in (False, True):
        torch.manual_seed(0)
        model = MoRe(preset("tiny"))
        if again:
            recompute(model)
        total(model, from_scratch(), PassConfig(attention="causal"), seed=3).backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-4, atol=1e-6, msg=name)
