from __future__ import annotations

import torch
from torch import nn

from sslight.bookkeeping import ticking
from sslight.modules.ema import EMA
from sslight.modules.frozen import Frozen


def test_it_neither_learns_nor_changes():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
    holder = nn.Sequential(Frozen(net)).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    images = torch.randn(2, 3, 8, 8)
    out = holder(images)
    assert not out.requires_grad
    assert torch.equal(out, holder(images))
    assert holder.training
    assert not net.training
    assert not any(p.requires_grad for p in net.parameters())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert "0.network.0.weight" in holder.state_dict()


def test_what_would_move_after_a_step_stays_still():
    online = nn.Linear(2, 2)
    holder = nn.ModuleDict({"online": online, "frozen": Frozen(EMA(online, 0.0))})
    before = holder["frozen"].network.teacher.weight.clone()
    nn.init.zeros_(online.weight)
    for module in ticking(holder):
        module.after_step(None)
    assert torch.equal(holder["frozen"].network.teacher.weight, before)
