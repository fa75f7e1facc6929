from __future__ import annotations

import pytest
import torch
from ranks import run_ranks

from sslight import distributed as d
from sslight.modules.queue import Queue


def rows(first: int, count: int) -> torch.Tensor:
    return torch.arange(first, first + count).float()[:, None].repeat(1, 2)


def pushed(*counts: int, size: int = 5) -> list[list[float]]:
    """First columns of the queue after each push of consecutive numbers."""
    queue, first, seen = Queue(size, 2), 0, []
    queue.rows.fill_(-1)
    for count in counts:
        queue.push(rows(first, count))
        first += count
        seen.append(queue.rows[:, 0].tolist())
    return seen


def test_it_starts_with_random_directions():
    torch.manual_seed(0)
    queue = Queue(100, 8)
    torch.testing.assert_close(queue.rows.norm(dim=1), torch.ones(100))
    assert queue.rows.mean(0).abs().max() < 0.2
    assert len(queue) == 100


def test_the_oldest_rows_go_first():
    assert pushed(2, 2, 2) == [[0, 1, -1, -1, -1], [0, 1, 2, 3, -1], [5, 1, 2, 3, 4]]


@pytest.mark.parametrize("size", [1, 3, 5, 7])
def test_it_holds_the_newest_rows_whatever_the_batches(size):
    counts = (2, 7, 1, 5, 13, 3)
    for k, seen in enumerate(pushed(*counts, size=size)):
        total = sum(counts[: k + 1])
        expected = list(range(total))[-size:]
        assert sorted(x for x in seen if x >= 0) == expected
        assert all(value % size == place for place, value in enumerate(seen) if value >= 0)


def test_rows_carry_no_gradient_and_are_saved():
    queue, x = Queue(4, 2), torch.ones(2, 2, requires_grad=True)
    queue.push(x)
    assert not queue.rows.requires_grad
    other = Queue(4, 2)
    other.load_state_dict(queue.state_dict())
    other.push(rows(5, 1))
    assert other.rows[2].tolist() == [5, 5]


def test_an_empty_queue_is_refused():
    with pytest.raises(ValueError, match="must be 1 or more"):
        Queue(0, 4)


def on_rank() -> torch.Tensor:
    queue = Queue(5, 2)
    queue.rows.fill_(-1)
    for first in (0, 4):  # global batches of four rows, this rank's part of each
        queue.push(rows(first + 2 * d.rank(), 2))
    return queue.rows


@pytest.mark.ranks
def test_ranks_fill_it_in_the_order_of_the_global_batch():
    for seen in run_ranks(2, on_rank):
        assert seen[:, 0].tolist() == pushed(4, 4)[-1]
