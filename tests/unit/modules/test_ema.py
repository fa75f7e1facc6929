from __future__ import annotations

import copy
import math
import warnings

import pytest
import torch
from ranks import run_ranks
from torch import nn

from sslight.modules.ema import EMA
from sslight.schedules import Clock, Constant


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def clock(step: int, total: int = 10) -> Clock:
    return Clock(step=step, total=total, per_epoch=5)


def disturb(module: nn.Module) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter))


def test_parameters_follow_by_one_minus_momentum():
    online = network()
    ema = EMA(online, 0.9)
    start = [p.clone() for p in ema.teacher.parameters()]
    disturb(online)
    ema.after_step(clock(0))
    for old, new, target in zip(start, ema.teacher.parameters(), online.parameters(), strict=True):
        torch.testing.assert_close(new, 0.9 * old + 0.1 * target.detach())
        assert not torch.equal(new, old)


def test_default_momentum_is_byols_cosine():
    ema = EMA(network())
    for step in (0, 3, 10):
        expected = 1 - (1 - 0.996) * (math.cos(math.pi * step / 10) + 1) / 2
        assert ema.momentum(clock(step)) == pytest.approx(expected, abs=1e-15)


def test_the_schedule_moves_the_momentum():
    online = network()
    ema = EMA(online, Constant(1.0))
    before = copy.deepcopy(ema.state_dict())
    disturb(online)
    ema.after_step(clock(0))
    for name, value in ema.state_dict().items():
        assert torch.equal(value, before[name])


def test_online_is_not_registered_and_teacher_is_frozen():
    online = network()
    ema = EMA(online)
    owner = nn.ModuleDict({"online": online, "ema": ema})
    assert all(name.startswith("teacher.") for name in ema.state_dict())
    assert not any(p.requires_grad for p in ema.parameters())
    assert len(list(owner.parameters())) == 2 * len(list(online.parameters()))
    assert not ema(torch.randn(4, 3)).requires_grad
    assert ema.online is online


def test_deepcopy_keeps_the_pair_together():
    owner = nn.ModuleDict({"online": network()})
    owner["ema"] = EMA(owner["online"], 0.0)
    twin = copy.deepcopy(owner)
    assert twin["ema"].online is twin["online"]
    disturb(twin["online"])
    twin["ema"].after_step(clock(0))
    torch.testing.assert_close(twin["ema"].teacher[0].weight, twin["online"][0].weight)
    assert not torch.equal(owner["ema"].teacher[0].weight, twin["online"][0].weight)


def test_teacher_trains_along_and_keeps_its_own_statistics():
    online = network()
    ema = EMA(online)
    images = torch.randn(8, 3) * 5
    out = ema(images)
    hidden = ema.teacher[0](images)
    normed = (hidden - hidden.mean(0)) / (hidden.var(0, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(out, ema.teacher[2](normed))
    assert ema.teacher[1].num_batches_tracked == 1
    assert online[1].num_batches_tracked == 0
    ema.after_step(clock(0))
    assert ema.teacher[1].num_batches_tracked == 1


def test_eval_mode_stays_in_eval_mode():
    ema = EMA(network(), eval_mode=True)
    ema.train()
    assert ema.training
    assert not any(module.training for module in ema.teacher.modules())
    assert not EMA(network().eval()).teacher.training


@pytest.mark.parametrize(("buffers", "share"), [("copy", 1.0), ("average", 0.1), ("own", 0.0)])
def test_buffers(buffers, share):
    online = network()
    ema = EMA(online, 0.9, buffers=buffers)
    online(torch.randn(8, 3) + 3)
    ema.after_step(clock(0))
    torch.testing.assert_close(ema.teacher[1].running_mean, share * online[1].running_mean)
    assert ema.teacher[1].num_batches_tracked == (buffers != "own")


def test_restart_copies_everything():
    online = network()
    ema = EMA(online, 0.99)
    disturb(online)
    online(torch.randn(8, 3))
    ema.restart()
    for mine, theirs in zip(
        ema.teacher.state_dict().values(), online.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(mine, theirs)


LOW = pytest.mark.parametrize("low", [torch.float16, torch.bfloat16])


def followed(low: torch.dtype, steps: int = 3000) -> tuple[EMA, torch.Tensor]:
    """A teacher of 16-bit ones, and where an online network of twos has led it."""
    online = nn.Linear(4, 3)
    nn.init.ones_(online.weight)
    ema = EMA(online, 0.9998).to(low)
    nn.init.constant_(online.to(low).weight, 2.0)
    for step in range(steps):
        ema.after_step(clock(step))
    return ema, torch.full((3, 4), 2 - 0.9998**steps)


@LOW
def test_a_16_bit_teacher_moves_by_less_than_its_numbers_tell_apart(low):
    """1 + 0.0002 is 1 in 16 bits, however often it is added."""
    ema, expected = followed(low)
    assert ema.teacher.weight.dtype == low
    torch.testing.assert_close(ema.teacher.weight, expected.to(low))


@LOW
@pytest.mark.parametrize("cast_first", [True, False])
def test_a_16_bit_teacher_goes_on_from_its_state(low, cast_first):
    """Lightning loads into float32 and casts later; whoever casts first gets the same."""
    ema, _ = followed(low, 100)
    other, online = EMA(nn.Linear(4, 3), 0.9998), ema.online
    other = other.to(low) if cast_first else other
    other.load_state_dict(copy.deepcopy(ema.state_dict()))
    other = other.to(low)
    other.online.to(low).load_state_dict(online.state_dict())
    for step in range(50):
        ema.after_step(clock(step))
        other.after_step(clock(step))
    assert torch.equal(ema.average, other.average)
    assert torch.equal(ema.teacher.weight, other.teacher.weight)


def test_the_average_is_only_kept_where_it_is_needed():
    ema, _ = followed(torch.bfloat16, 3)
    wide = EMA(nn.Linear(4, 3), 0.5)
    wide.load_state_dict(ema.state_dict())  # as load_method does
    wide.after_step(clock(0))
    assert set(wide.state_dict()) == {"teacher.weight", "teacher.bias"}
    ema.load_state_dict(wide.state_dict())
    ema.after_step(clock(0))
    torch.testing.assert_close(
        ema.teacher.weight, wide.teacher.weight.bfloat16(), rtol=0.01, atol=0
    )


@LOW
def test_a_16_bit_teacher_restarts(low):
    ema, _ = followed(low, 10)
    ema.restart()
    assert torch.equal(ema.teacher.weight, ema.online.weight)
    ema.after_step(clock(0))
    assert torch.equal(ema.teacher.weight, ema.online.weight)


def test_state_round_trips():
    online = network()
    ema, other = EMA(online, 0.5), EMA(network(), 0.5)
    disturb(online)
    ema.after_step(clock(0))
    other.load_state_dict(ema.state_dict())
    assert torch.equal(other.teacher[0].weight, ema.teacher[0].weight)


def test_refuses_bad_arguments():
    with pytest.raises(ValueError, match="buffers is 'mine'"):
        EMA(network(), buffers="mine")
    with pytest.raises(ValueError, match="momentum is 99"):
        EMA(network(), 99)


def sharded() -> list[str]:
    from torch.distributed import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    online = nn.Linear(4, 3).bfloat16()
    ema = EMA(online, 0.9998)
    for module in (online, ema.teacher):
        fully_shard(module, mesh=init_device_mesh("cpu", (2,)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for step in range(3):
            ema.after_step(clock(step))
    assert ema.average is None
    return [str(warning.message) for warning in caught]


@pytest.mark.ranks
def test_a_sharded_16_bit_teacher_is_warned_of():
    for messages in run_ranks(2, sharded):
        (message,) = messages
        assert "hardly moves" in message
        assert "bf16-mixed" in message
