from __future__ import annotations

import pytest
import torch
from ranks import run_ranks

from sslight import distributed as d
from sslight.modules.code_queue import CodeQueue


def rows(value: float, count: int) -> torch.Tensor:
    return torch.full((count, 2), value)


def test_rows_have_no_weight_until_the_queue_is_full():
    queue, seen = CodeQueue(5, 2, crops=2), []
    for step in range(4):
        joined, weights = queue.join(1, rows(-1, 2))
        assert joined.shape == (7, 2)
        assert weights[:2].tolist() == [1, 1]
        seen.append(weights[2:].sum().item())
        queue.push([rows(step, 2), rows(10 + step, 2)])
    assert seen == [0, 0, 0, 5]
    joined, _ = queue.join(1, rows(-1, 2))
    assert sorted(joined[:, 0].tolist()) == [-1, -1, 11, 12, 12, 13, 13]
    joined, _ = queue.join(0, rows(-1, 2))
    assert sorted(joined[2:, 0].tolist()) == [1, 2, 2, 3, 3]


def test_its_fill_is_saved():
    queue, other = CodeQueue(4, 2, crops=1), CodeQueue(4, 2, crops=1)
    queue.push([rows(1, 4)])
    other.load_state_dict(queue.state_dict())
    for left, right in zip(queue.join(0, rows(0, 1)), other.join(0, rows(0, 1)), strict=True):
        assert torch.equal(left, right)
    assert other.join(0, rows(0, 1))[1].tolist() == [1] * 5


def test_rows_are_detached():
    queue, x = CodeQueue(2, 2, crops=1), torch.ones(2, 2, requires_grad=True)
    queue.push([x])
    assert not queue.queues[0].rows.requires_grad


def on_rank() -> tuple[list[float], list[float]]:
    queue = CodeQueue(5, 2, crops=1)
    for step in range(3):
        queue.push([rows(10 * step + d.rank(), 1)])
    joined, weights = queue.join(0, rows(-1, 1))
    return joined[1:, 0].tolist(), weights.tolist()


@pytest.mark.ranks
def test_ranks_share_out_the_rows():
    (first, weights), (second, _) = run_ranks(2, on_rank)
    assert sorted(first + second) == [1, 10, 11, 20, 21]
    assert (len(first), len(second)) == (3, 2)
    assert weights == [1] * 4
