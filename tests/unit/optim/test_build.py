from __future__ import annotations

import copy
import io
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from sslight import schedules as S
from sslight.optim import (
    LARS,
    ParamRule,
    Recipe,
    apply_freeze,
    apply_schedules,
    build_optimizer,
    parameter_groups,
)
from sslight.optim.build import _kernel
from sslight.schedules import Clock


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def built(recipe: Recipe, module: nn.Module, batch_size: int = 256) -> torch.optim.Optimizer:
    return build_optimizer(parameter_groups(module, recipe), recipe, batch_size=batch_size)


def train(module: nn.Module, optimizer, recipe: Recipe, steps: range, total: int = 10) -> None:
    for step in steps:
        torch.manual_seed(step)
        module(torch.randn(8, 3, dtype=module[0].weight.dtype)).square().mean().backward()
        apply_schedules(optimizer, recipe, Clock(step, total, 5), batch_size=256)
        apply_freeze(optimizer, Clock(step, total, 5))
        optimizer.step()
        optimizer.zero_grad()


def test_schedules_reach_every_group_times_its_scale():
    recipe = Recipe(
        lr=0.4,
        scale_lr="linear",
        weight_decay=S.Linear(0.1, 0.3),
        groups=(ParamRule("^2", lr_scale=0.5, weight_decay=0.7),),
    )
    optimizer = built(recipe, network(), batch_size=512)
    apply_schedules(optimizer, recipe, Clock(5, 10, 5), batch_size=512)
    lr = S.Cosine(0.8)(Clock(5, 10, 5))
    found = {
        group["name"]: (group["lr"], group["weight_decay"]) for group in optimizer.param_groups
    }
    assert found["decay"] == pytest.approx((lr, 0.2))
    assert found["no_decay"] == pytest.approx((lr, 0.0))
    assert found["^2"] == pytest.approx((0.5 * lr, 0.7))


def test_a_constant_rate_stays_at_the_scaled_peak_from_warmup_to_end():
    rules = (ParamRule("^2", lr_scale=0.5, constant_lr=True),)
    recipe = Recipe(lr=0.4, scale_lr="linear", warmup_epochs=1, groups=rules)
    optimizer = built(recipe, network(), batch_size=512)
    for step in (0, 3, 9):
        apply_schedules(optimizer, recipe, Clock(step, 10, 5), batch_size=512)
        found = {group["name"]: group["lr"] for group in optimizer.param_groups}
        assert found["^2/decay"] == pytest.approx(0.5 * 0.8)
        assert found["decay"] != pytest.approx(0.8)


def test_the_lr_before_the_first_schedule_is_the_peak_or_nan():
    assert built(Recipe(lr=0.1, scale_lr="linear"), network(), 512).param_groups[0]["lr"] == 0.2
    assert math.isnan(built(Recipe(lr=S.Cosine(0.1)), network()).param_groups[0]["lr"])


def test_groups_of_a_users_own_need_nothing_but_params():
    module, recipe = network(), Recipe(weight_decay=0.1)
    optimizer = build_optimizer([{"params": module.parameters()}], recipe, batch_size=8)
    apply_schedules(optimizer, recipe, Clock(0, 10, 5), batch_size=8)
    assert optimizer.param_groups[0]["weight_decay"] == 0.1
    assert len(optimizer.param_groups[0]["params"]) == 6


def test_equals_a_plain_torch_loop():
    recipe = Recipe(
        optimizer="adamw",
        lr=0.1,
        schedule="linear",
        weight_decay=0.5,
        decay_bias=True,
        decay_norm=True,
        options={"betas": [0.8, 0.9]},
    )
    module, twin = network(), network()
    module[1] = twin[1] = nn.Tanh()  # batch norm leaves a bias before it nothing but rounding
    train(module, built(recipe, module), recipe, range(10))
    optimizer = torch.optim.AdamW(twin.parameters(), lr=0.1, betas=(0.8, 0.9), weight_decay=0.5)
    for step in range(10):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 10)
        torch.manual_seed(step)
        twin(torch.randn(8, 3)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    for a, b in zip(module.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_freezing_leaves_no_trace():
    recipe = Recipe(lr=0.1, weight_decay=0.1, groups=(ParamRule("^2", freeze_steps=3),))
    module = network()
    optimizer = built(recipe, module)
    before = module[2].weight.clone()
    train(module, optimizer, recipe, range(3))
    assert torch.equal(module[2].weight, before)
    assert module[2].weight not in optimizer.state
    assert not torch.equal(module[0].weight, network()[0].weight)
    train(module, optimizer, recipe, range(3, 4))
    assert not torch.equal(module[2].weight, before)


def test_freezing_in_epochs():
    recipe = Recipe(lr=0.1, groups=(ParamRule("^2", freeze_epochs=0.4),))  # 2 steps of 5
    module = network()
    optimizer = built(recipe, module)
    before = module[2].weight.clone()
    train(module, optimizer, recipe, range(2))
    assert torch.equal(module[2].weight, before)
    train(module, optimizer, recipe, range(2, 3))
    assert not torch.equal(module[2].weight, before)


@pytest.mark.parametrize("name", ["sgd", "adamw", "lars", "larc", "RMSprop"])
def test_state_survives_a_weights_only_round_trip(name):
    recipe = Recipe(optimizer=name, lr=0.01, weight_decay=0.1, groups=(ParamRule("^2"),))
    straight, resumed = network(), network()
    train(straight, built(recipe, straight), recipe, range(6))

    optimizer = built(recipe, resumed)
    train(resumed, optimizer, recipe, range(3))
    file = io.BytesIO()
    torch.save({"model": resumed.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    fresh = network()
    fresh.load_state_dict(state["model"])
    optimizer = built(recipe, fresh)
    optimizer.load_state_dict(state["optimizer"])
    train(fresh, optimizer, recipe, range(3, 6))
    for a, b in zip(straight.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(a, b)
    assert optimizer.param_groups[0]["names"] == ["0.weight", "2.weight"]


def test_kernels():
    assert built(Recipe(), network()).defaults["fused"] is True
    assert built(Recipe(optimizer="NAdam"), network()).defaults["foreach"] is True
    assert built(Recipe(options={"foreach": False}), network()).defaults["foreach"] is False
    assert built(Recipe(options={"fused": True}), network()).defaults["foreach"] is None
    assert "foreach" not in built(Recipe(optimizer="lars"), network()).defaults


def test_fused_only_where_it_exists():
    def on(device: str, **more: Any) -> list[dict[str, Any]]:
        return [{"params": [SimpleNamespace(device=torch.device(device), **more)]}]

    assert _kernel(torch.optim.AdamW, on("cuda"), Recipe()) == {"fused": True}
    assert _kernel(torch.optim.NAdam, on("cuda"), Recipe()) == {"foreach": True}
    assert _kernel(LARS, on("cuda"), Recipe()) == {}
    assert _kernel(torch.optim.AdamW, on("meta"), Recipe()) == {"foreach": True}
    assert _kernel(torch.optim.AdamW, on("cpu", to_local=None), Recipe()) == {"foreach": True}


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_fused_steps_are_those_of_a_loop(name: str):
    """On a CPU too, to rounding."""
    # Without batch norm: it leaves a bias before it a gradient of rounding errors, which Adam
    # blows up to steps.
    torch.manual_seed(0)
    modules = [nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()]
    modules.append(copy.deepcopy(modules[0]))
    for module, options in zip(modules, ({}, {"foreach": False}), strict=True):
        recipe = Recipe(optimizer=name, lr=0.01, weight_decay=0.1, options=options)
        train(module, built(recipe, module), recipe, range(5))
    for a, b in zip(*(module.parameters() for module in modules), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_a_fused_optimizer_leaves_unscaling_to_lightning():
    """Otherwise Lightning refuses to clip gradients under mixed precision."""
    optimizer = built(Recipe(optimizer="adamw", options={"fused": True}), network())
    assert torch.optim.AdamW(network().parameters(), fused=True)._step_supports_amp_scaling
    assert not optimizer._step_supports_amp_scaling


@pytest.mark.parametrize("name", ["Adafactor", "Adadelta", "NAdam", "Rprop", "ASGD"])
def test_any_torch_optimizer_trains(name):
    recipe, module = Recipe(optimizer=name, lr=0.01), network()
    before = module[0].weight.clone()
    train(module, built(recipe, module), recipe, range(2))
    assert not torch.equal(module[0].weight, before)
    assert torch.isfinite(module[0].weight).all()
