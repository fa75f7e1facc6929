from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from ranks import run_ranks

from sslight import distributed as d
from sslight.modules.cluster_memory import ClusterMemory, last_of_each
from sslight.modules.kmeans import kmeans, nearest


def memory(images: int = 6) -> ClusterMemory:
    return ClusterMemory(images, 2, crops=2, num_clusters=3, heads=3)


def rows(*numbers: float) -> torch.Tensor:
    """Directions that tell their number."""
    return torch.tensor([[x, 1.0] for x in numbers])


def numbers(rows: torch.Tensor) -> list[float]:
    return [round((row[0] / row[1]).item(), 4) if row[1] else -1 for row in rows]


def test_it_starts_empty_with_unknown_clusters():
    fresh = memory()
    assert len(fresh) == 6
    assert not fresh.rows.any()
    assert (fresh.assignments == -1).all()


def test_filling_writes_every_crop():
    filled = memory()
    filled.fill(rows(1, 2), 0)
    filled.fill(rows(3, 4), 2)
    for crop in filled.rows:
        assert numbers(crop) == [1, 2, 3, 4, -1, -1]
    torch.testing.assert_close(filled.rows[:, :4].norm(dim=2), torch.ones(2, 4))


def test_filling_from_features_goes_block_by_block_and_keeps_no_graph(monkeypatch):
    monkeypatch.setattr("sslight.modules.cluster_memory._ROWS", 4)
    filled, seen = memory(), []

    def network(features: torch.Tensor) -> torch.Tensor:
        seen.append(len(features))
        return features * scale

    scale = torch.ones(1, requires_grad=True)
    filled.fill_by(network, rows(1, 2, 3, 4, 5, 6).double())
    assert seen == [4, 2]
    assert not filled.rows.requires_grad
    for crop in filled.rows:
        assert numbers(crop) == [1, 2, 3, 4, 5, 6]


def test_an_image_that_cannot_be_read_is_a_row_of_zeros():
    filled = memory()
    filled.fill(torch.full((1, 2), torch.nan), 3)
    assert not filled.rows.any()


def test_writing_is_by_index_and_crop():
    written = memory()
    written.write(torch.tensor([4, 0]), [rows(1, 2), rows(3, 4)])
    assert numbers(written.rows[0]) == [2, -1, -1, -1, 1, -1]
    assert numbers(written.rows[1]) == [4, -1, -1, -1, 3, -1]


def test_of_an_image_that_comes_twice_the_last_stays():
    assert last_of_each(torch.tensor([7, 3, 7, 7, 5])).tolist() == [3, 1, 3, 3, 4]
    written = memory()
    written.write(torch.tensor([4, 0, 4]), [rows(1, 2, 5), rows(3, 4, 6)])
    assert numbers(written.rows[0]) == [2, -1, -1, -1, 5, -1]


def test_heads_take_turns_with_the_crops():
    generator = torch.Generator().manual_seed(0)
    known = memory(20)
    known.rows.copy_(F.normalize(torch.randn(2, 20, 2, generator=generator), dim=2))
    known.cluster(4, torch.Generator().manual_seed(5))
    shared = torch.Generator().manual_seed(5)
    for head, crop in enumerate((0, 1, 0)):
        expected = kmeans(known.rows[crop], 3, 4, spherical=True, generator=shared)
        assert torch.equal(known.centroids[head], expected)
        ids = nearest(known.rows[crop], expected, spherical=True)
        assert torch.equal(known.assignments[head], ids)


def test_everything_is_saved():
    known, other = memory(), memory()
    known.fill(rows(1, 2, 3, 4, 5, 6), 0)
    known.cluster(2, torch.Generator().manual_seed(5))
    other.load_state_dict(known.state_dict())
    assert torch.equal(known.assignments, other.assignments)
    assert set(known.state_dict()) == set(ClusterMemory.large_buffers)


def on_rank() -> torch.Tensor:
    written, first = memory(), 2 * d.rank()
    written.write(torch.tensor([first, 5]), [rows(first, 10 + first), rows(0, 1)])
    return written.rows[0]


@pytest.mark.ranks
def test_ranks_write_each_others_rows_and_the_last_rank_wins():
    for result in run_ranks(2, on_rank):
        assert numbers(result) == [0, -1, 2, -1, -1, 12]
