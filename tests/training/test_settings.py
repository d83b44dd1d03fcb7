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
