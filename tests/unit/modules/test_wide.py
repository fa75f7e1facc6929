from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from sslight.modules.wide import kept_wide


class Average(nn.Module):
    def __init__(self, value: torch.Tensor | None) -> None:
        super().__init__()
        self.register_buffer("value", value)
        self.layer = nn.Linear(2, 2)

    def _apply(self, fn: Any, recurse: bool = True) -> Average:
        with kept_wide(self, "value"):
            return super()._apply(fn, recurse)


@pytest.mark.parametrize("low", [torch.float16, torch.bfloat16])
def test_a_cast_to_16_bits_leaves_the_numbers(low):
    value = torch.rand(3)
    network = nn.Sequential(Average(value)).to(low)
    assert torch.equal(network[0].value, value)
    assert network[0].layer.weight.dtype == low
    assert network.to("meta")[0].value.is_meta


def test_other_casts_are_as_usual():
    assert Average(torch.rand(3)).double().value.dtype == torch.float64
    assert Average(torch.arange(3)).half().value.dtype == torch.int64
    assert Average(None).half().value is None
