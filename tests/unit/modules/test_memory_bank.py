from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from ranks import run_ranks

from sslight import distributed as d
from sslight.modules.memory_bank import MemoryBank, mean_of_repeats

INDEX = torch.tensor([3, 0, 3, 5])


def bank(momentum: float = 0.5) -> MemoryBank:
    torch.manual_seed(0)
    return MemoryBank(6, 4, momentum)


def rows() -> torch.Tensor:
    return torch.randn(4, 4, generator=torch.Generator().manual_seed(1))


def test_it_starts_with_random_directions():
    torch.manual_seed(0)
    memory = MemoryBank(200, 8)
    torch.testing.assert_close(memory.rows.norm(dim=1), torch.ones(200))
    assert memory.rows.mean(0).abs().max() < 0.2
    assert len(memory) == 200


def test_rows_move_and_stay_of_length_one():
    memory, before = bank(0.75), bank().rows
    memory.update(torch.tensor([2]), rows()[:1] * 7)
    expected = F.normalize(0.75 * before[2] + 0.25 * F.normalize(rows()[0], dim=0), dim=0)
    torch.testing.assert_close(memory.rows[2], expected)
    untouched = [0, 1, 3, 4, 5]
    assert torch.equal(memory.rows[untouched], before[untouched])


def test_an_image_that_comes_twice_moves_once_whatever_the_order():
    memory, turned = bank(), bank()
    memory.update(INDEX, rows())
    turned.update(INDEX.flip(0), rows().flip(0))
    assert torch.equal(memory.rows, turned.rows)
    mean = F.normalize(rows()[[0, 2]], dim=1).mean(0)
    expected = F.normalize(0.5 * bank().rows[3] + 0.5 * mean, dim=0)
    torch.testing.assert_close(memory.rows[3], expected)


@pytest.mark.parametrize("low", [torch.float16, torch.bfloat16])
def test_it_moves_in_float32_under_autocast(low):
    """Several views of an image repeat its index: their mean must not be rounded."""
    memory, expected = bank(), bank()
    views = rows().to(low)
    expected.update(INDEX, views.float())
    with torch.autocast("cpu", dtype=low):
        memory.update(INDEX, views)
    assert torch.equal(memory.rows, expected.rows)


def test_means_of_repeats():
    x = rows()
    out = mean_of_repeats(x, INDEX)
    assert torch.equal(out[[1, 3]], x[[1, 3]])
    torch.testing.assert_close(out[0], (x[0] + x[2]) / 2)
    thrice = mean_of_repeats(x, torch.tensor([1, 1, 1, 2]))
    assert torch.equal(thrice[0], thrice[1])
    assert torch.equal(thrice[0], thrice[2])


def test_rows_carry_no_gradient_and_are_saved():
    memory = bank()
    memory.update(INDEX, rows().requires_grad_())
    assert not memory.rows.requires_grad
    assert list(memory.state_dict()) == ["rows"]


def test_bad_numbers_are_refused():
    with pytest.raises(ValueError, match="1 image has none to be told from"):
        MemoryBank(1, 4)
    with pytest.raises(ValueError, match="momentum is 1"):
        MemoryBank(4, 4, 1)


def on_rank() -> torch.Tensor:
    memory, mine = bank(), slice(2 * d.rank(), 2 * d.rank() + 2)
    memory.update(INDEX[mine], rows()[mine])  # image 3 lies on both ranks
    return memory.rows


@pytest.mark.ranks
def test_ranks_end_as_one_process_with_the_whole_batch():
    whole = bank()
    whole.update(INDEX, rows())
    for seen in run_ranks(2, on_rank):
        assert torch.equal(seen, whole.rows)
