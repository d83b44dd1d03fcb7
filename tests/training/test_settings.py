"""Dotted overrides and what a wrong one says."""

from __future__ import annotations

import json

import pytest

from openmore.errors import ConfigError
from openmore.training import settings
from openmore.training.config import TrainConfig
from openmore.training.recipes import RECIPES, recipe


def test_values_are_read_by_the_type_of_their_field() -> None:
    config = settings.apply(
        recipe("more_full"),
        [
            "optim.lr=1e-4",
            "optim.steps=1e3",
            "optim.motion_lr=1e-4",
            "data.frames=2, 8",
            "data.aspects=1.0",
            "optim.freeze=",
            "run.tensorboard=yes",
            "init=none",
            "objective.weights.attention=0.1",
            "objective.attention.variant=kl",
            "passes.window=5",
        ],
    )
    assert (config.optim.lr, config.optim.steps, config.optim.motion_lr) == (1e-4, 1000, 1e-4)
    assert (config.data.frames, config.data.aspects, config.optim.freeze) == ((2, 8), (1.0,), ())
    assert config.run.tensorboard and config.init is None and config.passes.window == 5
    assert config.objective.weights.attention == 0.1 and config.objective.attention.variant == "kl"


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("optim.lrr=1", "no setting 'optim.lrr': did you mean lr"),
        ("optim.lr", "write it as name=value"),
        ("optim=1", "group of settings"),
        ("optim.lr.x=1", "holds a plain value"),
        ("optim.lr=fast", "optim.lr=fast: expected float"),
        ("optim.steps=1.5", "expected int"),
        ("run.tensorboard=maybe", "expected bool"),
        ("data.frames=2", "takes 2 values"),
        ("data.frames=8,2", "1 <= fewest <= most"),
        ("data.interval=0,2", r"data.interval=0,2: interval is \(0, 2\), expected two whole numbers"),
        ("data.seed=-1", "data.seed=-1: seed is -1, expected a whole number, 0 or more"),
        ("data.workers=-1", "workers is -1, expected a whole number, 0 or more, or None"),
        ("data.aspects=", "aspects is .* expected numbers above 0, at most 1"),
        ("data.short_scale=0,1", "0 < smallest <= largest"),
        ("data.max_clips=0", "max_clips is 0, expected a whole number, at least 1"),
        ("data.pool_shape=0,64", "pool_shape is"),
        ("optim.lr=0", "optim.lr=0: lr is 0.0, expected a number above 0"),
        ("optim.lr=nan", "lr is nan"),
        ("optim.betas=0.9,1", "betas is"),
        ("optim.clip_dense=-1", "inf is no limit"),
        ("optim.ema=1", "ema is 1.0, expected a number of 0 or more, below 1"),
        ("run.log_every=0", "run.log_every=0: log_every is 0, expected a whole number, at least 1"),
        ("run.save_every=0", "save_every is 0"),
        ("run.metrics_every=-1", "metrics_every is -1"),
        ("run.keep=0", "keep is 0"),
        ("objective.attention.variant=klx", "choose from none, release, baseline, kl"),
    ],
)
def test_a_mistake_is_named(assignment: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        settings.apply(recipe("more_full"), [assignment])


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_survives_json(name: str) -> None:
    config = recipe(name)
    stored = json.loads(json.dumps(settings.to_dict(config)))
    assert settings.from_dict(TrainConfig, stored) == config
    assert config.name == name


def test_differences_name_the_leaf() -> None:
    a = recipe("small")
    b = settings.apply(a, ["objective.depth.alpha=0.3", "optim.lr=1"])
    assert sorted(settings.differences(a, b)) == ["objective.depth.alpha: 0.1 -> 0.3", "optim.lr: 0.0005 -> 1.0"]


def test_a_file_of_another_version_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown settings"):
        settings.from_dict(TrainConfig, {"name": "x", "model": "tiny", "colour": "red"})


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean small_full"):
        recipe("smal_full")
