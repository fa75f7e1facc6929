"""Exact search in blocks: what plain sorting finds, whatever the blocks."""

import pytest
import torch

from sslight.eval import neighbours
from sslight.eval.neighbours import nearest


def drawn(n, dim=12, seed=0):
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed))


def sorted_rows(queries, bank, k):
    """Stable sorting of all similarities: equal ones stay in the order of their rows."""
    unit = [torch.nn.functional.normalize(x.double(), dim=1) for x in (queries, bank)]
    values, rows = (unit[0] @ unit[1].T).sort(dim=1, descending=True, stable=True)
    return values[:, :k], rows[:, :k]


@pytest.mark.parametrize("block", [7, 50, 64, 1000])
@pytest.mark.parametrize("k", [1, 5, 40])
def test_it_is_sorting(monkeypatch, block, k):
    monkeypatch.setattr(neighbours, "BANK_BLOCK", block)
    queries, bank = drawn(30), drawn(700, seed=1)
    values, rows = nearest(queries, bank, k)
    expected, best = sorted_rows(queries, bank, k)
    assert torch.equal(rows, best)
    torch.testing.assert_close(values.double(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("order", ["rising", "falling"])
def test_banks_in_the_worst_order(monkeypatch, order):
    """Rising: every block holds better rows than all before, so that none can be left out."""
    monkeypatch.setattr(neighbours, "BANK_BLOCK", 16)
    angle = torch.linspace(1.5, 0.0, 200) if order == "rising" else torch.linspace(0.0, 1.5, 200)
    bank = torch.stack([angle.cos(), angle.sin()], dim=1)
    _, rows = nearest(torch.tensor([[1.0, 0.0]] * 3), bank, 5)
    best = list(range(199, 194, -1)) if order == "rising" else list(range(5))
    assert rows.tolist() == [best] * 3


def test_cutting_into_blocks_changes_nothing(monkeypatch):
    queries, bank = drawn(40), drawn(150, seed=1)
    whole = nearest(queries, bank, 20)
    monkeypatch.setattr(neighbours, "BANK_BLOCK", 11)
    similarity, rows = nearest(queries, bank, 20, memory=4 * 31 * 3)
    assert torch.equal(rows, whole[1])
    torch.testing.assert_close(similarity, whole[0], rtol=0, atol=1e-6)


def test_few_values_of_later_blocks_are_selected_from(monkeypatch):
    monkeypatch.setattr(neighbours, "BANK_BLOCK", 100)
    seen = []
    largest = neighbours._largest

    def spy(values, k):
        seen.append(values.shape[1])
        return largest(values, k)

    monkeypatch.setattr(neighbours, "_largest", spy)
    nearest(drawn(20), drawn(2000, seed=1), 5)
    assert len(seen) < 10  # of 20 blocks
    assert sum(width == 100 for width in seen) <= 2


def test_peak_memory_is_bounded_by_blocks(monkeypatch):
    monkeypatch.setattr(neighbours, "BANK_BLOCK", 32)
    seen = []
    add = neighbours._Pool.add

    def spy(self, similarity, start):
        add(self, similarity, start)
        seen.append((similarity.numel() + len(similarity) * 5) * 4)
        assert self.values.shape[1] <= 4 * 5

    monkeypatch.setattr(neighbours._Pool, "add", spy)
    nearest(drawn(40), drawn(150, seed=1), 5, memory=1000)
    assert len(seen) > 5
    assert max(seen) <= 1000


@pytest.mark.parametrize("block", [1, 2, 3, 100])
def test_equal_similarities_go_to_the_lower_row(monkeypatch, block):
    monkeypatch.setattr(neighbours, "BANK_BLOCK", block)
    bank = torch.tensor([[0.0, 1], [1, 0], [2, 0], [1, 0], [3, 0], [1, 0.001]])
    similarity, rows = nearest(torch.tensor([[5.0, 0]]), bank, 3)
    assert rows.tolist() == [[1, 2, 3]]
    assert similarity.tolist() == [[1, 1, 1]]


def test_full_precision_is_asked_for_and_given_back():
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", torch.bfloat16):
            similarity, _ = nearest(drawn(4), drawn(20, seed=1), 3)
        assert similarity.dtype == torch.float32
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("many", [1, 1000])
@pytest.mark.parametrize("dim", [1, 12, 100])
def test_copies_are_equal_whoever_multiplies(monkeypatch, many, dim):
    """Three copies of a bank, in blocks of other sizes: of equal rows the first is found."""
    monkeypatch.setattr(neighbours, "_MANY", many)
    monkeypatch.setattr(neighbours, "BANK_BLOCK", 64)
    queries, bank = drawn(150, dim), drawn(100, dim, seed=1)
    values, rows = nearest(queries, bank.repeat(3, 1), 9)
    once, best = nearest(queries, bank, 3)
    if dim > 1:
        assert torch.equal(rows[:, ::3], best)
        assert torch.equal(rows, (best[:, :, None] + torch.tensor([0, 100, 200])).flatten(1))
        assert torch.equal(values[:, ::3], once)
    assert torch.equal(values[:, 0], values[:, 2])


def test_queries_stay_as_they_were():
    queries, bank = 3 * drawn(200), 3 * drawn(300, seed=1)
    before = queries.clone(), bank.clone()
    nearest(queries, bank, 3)
    assert torch.equal(queries, before[0])
    assert torch.equal(bank, before[1])


def test_no_queries():
    values, rows = nearest(drawn(0), drawn(20), 3)
    assert values.shape == rows.shape == (0, 3)


@pytest.mark.parametrize("k", [0, 21])
def test_too_many_or_too_few_neighbours(k):
    with pytest.raises(ValueError, match=f"between 1 and the bank's 20 rows, got {k}"):
        nearest(drawn(4), drawn(20), k)
