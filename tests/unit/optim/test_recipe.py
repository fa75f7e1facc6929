from __future__ import annotations

import math
import pickle

import pytest
import torch

from sslight import schedules as S
from sslight.optim import LARC, LARS, ParamRule, Recipe
from sslight.schedules import Clock


def test_a_plain_lr_warms_up_and_follows_its_shape():
    recipe = Recipe(lr=0.4, end_lr=0.1, warmup_epochs=2, warmup_lr=0.2)
    expected = S.Warmup(S.Cosine(0.4, 0.1), 2, 0.2)
    assert recipe.scaled_lr(256) == expected
    assert Recipe(lr=0.4, schedule="linear", end_lr=0.1).scaled_lr(64) == S.Linear(0.4, 0.1)
    assert Recipe(lr=0.4, schedule="constant").scaled_lr(64) == S.Constant(0.4)


def test_a_schedule_of_factors_multiplies_the_lr():
    recipe = Recipe(lr=0.4, schedule=S.MultiStep((1.0, 0.1), (5.0,)))
    assert recipe.scaled_lr(256) == S.MultiStep((0.4, 0.1 * 0.4), (5.0,))


def test_a_schedule_as_lr_is_used_as_it_is():
    schedule = S.Sequence((S.Linear(0.0, 1.0), S.Cosine(1.0)), (0.1, 0.9))
    assert Recipe(lr=schedule).scaled_lr(4096) is schedule


@pytest.mark.parametrize(("how", "factor"), [("linear", 4.0), ("sqrt", 2.0), (None, 1.0)])
def test_scaling_by_the_batch_keeps_all_ratios(how, factor):
    recipe = Recipe(lr=0.4, end_lr=0.1, warmup_epochs=1, warmup_lr=0.02, scale_lr=how)
    scaled = recipe.scaled_lr(1024)
    for step in (0, 5, 10, 50, 99):
        clock = Clock(step, 100, 10)
        assert scaled(clock) == pytest.approx(factor * recipe.lr_schedule()(clock), rel=1e-12)
    doubled = Recipe(lr=S.Cosine(1.0, 0.5), scale_lr=how, base_batch_size=128).scaled_lr(512)
    assert doubled(Clock(0, 10, 10)) == pytest.approx(factor)


def test_it_says_how_the_lr_came_about():
    recipe = Recipe(lr=0.3, scale_lr="linear")
    assert recipe.describe_lr(1024) == "lr 0.3 x 4 = 1.2 (linear in batch size, 1024/256)"
    assert recipe.describe_lr(256).startswith("lr 0.3 x 1 = 0.3")
    assert Recipe(lr=0.3).describe_lr(64) == "lr 0.3 (not scaled by the batch size of 64)"
    assert "schedule x 2 (sqrt" in Recipe(lr=S.Cosine(1.0), scale_lr="sqrt").describe_lr(1024)


def test_warmup_longer_than_training_is_an_error_at_use():
    schedule = Recipe(lr=0.3, warmup_epochs=10).scaled_lr(256)
    with pytest.raises(ValueError, match=r"10 epochs \(1000 steps\).*5 epochs \(500 steps\)"):
        schedule(Clock(0, 500, 100))


def test_classes_and_default_momentum():
    assert Recipe().optimizer_arguments() == {"momentum": 0.9}
    assert Recipe(momentum=0.0).optimizer_arguments() == {"momentum": 0.0}
    assert Recipe(optimizer="lars").optimizer_class is LARS
    assert Recipe(larc=True).optimizer_class is LARC
    assert Recipe(optimizer="larc", larc=True).optimizer_class is LARC
    assert Recipe(optimizer="RMSprop").optimizer_arguments() == {}
    assert Recipe(optimizer=torch.optim.NAdam).optimizer_class is torch.optim.NAdam


def test_lists_of_a_yaml_become_tuples():
    assert Recipe(optimizer="adamw", options={"betas": [0.9, 0.95]}).options["betas"] == (0.9, 0.95)
    assert Recipe(groups=[ParamRule("bias")]).groups == (ParamRule("bias"),)


def test_is_picklable_and_comparable():
    recipe = Recipe(optimizer="adamw", lr=S.Cosine(0.1), groups=(ParamRule("x", lr_scale=2),))
    assert pickle.loads(pickle.dumps(recipe)) == recipe


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "lars", "larc", "RMSprop", "Adafactor"])
def test_every_kind_of_optimizer_can_be_named(name):
    Recipe(optimizer=name)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"optimizer": "admaw"}, "unknown optimizer 'admaw'. Did you mean 'adamw'"),
        ({"optimizer": "rmsprop"}, "Did you mean 'RMSprop'"),
        ({"optimizer": "LBFGS"}, "LBFGS is not supported: it evaluates the loss several times"),
        ({"options": {"nestrov": True}}, "SGD has no argument 'nestrov'. Did you mean 'nesterov'"),
        ({"options": {"momentum": 0.5}}, r"options.momentum: write optim.momentum"),
        ({"optimizer": "adamw", "options": {"betas": [2.0, 0.9]}}, "AdamW refuses.*beta"),
        ({"optimizer": "adamw", "options": {"betas": 0.9}}, "AdamW refuses"),
        ({"optimizer": "adam", "momentum": 0.9}, "momentum: Adam has none"),
        ({"optimizer": "Rprop", "weight_decay": 0.1}, "weight_decay: Rprop has none"),
        ({"optimizer": "adamw", "larc": True}, "larc works around sgd, not 'adamw'"),
        ({"optimizer": "lars", "decay_bias": True}, "exclude_1d: false"),
        ({"larc": True, "options": {"dampening": 0.1}}, "LARC has no argument 'dampening'"),
        ({"lr": -0.1}, r"optim.lr must be a finite number of at least 0, got -0.1"),
        ({"lr": math.nan}, "got nan"),
        ({"weight_decay": -1.0}, "optim.weight_decay"),
        ({"schedule": "cosin"}, "'cosin' is not one of constant, linear, cosine.*'cosine'"),
        ({"schedule": "multistep"}, r"write lr: \{name: multistep"),
        ({"schedule": S.Cosine(1.0), "end_lr": 0.1}, "end_lr has no use"),
        ({"lr": S.Cosine(1.0), "warmup_epochs": 10}, r"lr: \{name: warmup, epochs: 10"),
        ({"lr": S.Cosine(1.0), "head_lr": 1.0}, "head_lr needs a plain number"),
        (
            {"lr": S.Cosine(1.0), "groups": [ParamRule("x", constant_lr=True)]},
            "constant_lr needs a plain number",
        ),
        ({"lr": 0.0, "head_lr": 1.0}, "freeze the backbone"),
        ({"scale_lr": "square"}, "'square' is not linear, sqrt or null"),
        ({"base_batch_size": 0}, "at least 1, got 0"),
        ({"layer_decay": 1.5}, r"lie in \(0, 1\], got 1.5"),
    ],
)
def test_mistakes_are_told_at_once(fields, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pattern": "("}, "not a regular expression"),
        ({"pattern": "x", "lr_scale": -1.0}, r"ParamRule\('x'\).lr_scale"),
        ({"pattern": "x", "freeze_steps": -1}, "freeze_steps"),
    ],
)
def test_rules_are_checked(fields, message):
    with pytest.raises(ValueError, match=message):
        ParamRule(**fields)
