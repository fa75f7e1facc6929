"""What methods keep between steps is not rounded to the 16 bits of a forward."""

from __future__ import annotations

import pytest
import tiny
import torch
from tiny import METHODS

from sslight.modules.code_queue import CodeQueue
from sslight.modules.queue import Queue


def queues(name: str) -> list[str]:
    """Names of queues of directions; a CodeQueue's are normalised when they are used."""
    modules = dict(tiny.build(name).named_modules())
    inside = [key for key, module in modules.items() if isinstance(module, CodeQueue)]
    found = [key for key, module in modules.items() if isinstance(module, Queue)]
    return [key for key in found if not any(key.startswith(f"{outer}.") for outer in inside)]


WITH_QUEUES = [name for name in METHODS if queues(name)]


def test_some_methods_have_queues():
    assert len(WITH_QUEUES) >= 3


@pytest.mark.parametrize("name", WITH_QUEUES)
def test_queued_directions_have_length_1_under_autocast(name: str):
    """A length rounded to 8 bits would stretch a row's logits by up to half a percent."""
    method = tiny.build(name)
    before = tiny.snapshot(method)
    tiny.fit(method, name, precision="bf16-mixed")
    for queue in queues(name):
        rows = method.get_submodule(queue).rows
        assert not torch.equal(rows, before[f"{queue}.rows"])
        torch.testing.assert_close(rows.norm(dim=1), torch.ones(len(rows)), rtol=1e-6, atol=0)
