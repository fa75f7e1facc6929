"""An epoch's order is a permutation; a large one is computed where it is asked for."""

from __future__ import annotations

import pytest
import torch

from sslight.data import order
from sslight.data.order import EpochOrder
from sslight.data.sampler import EpochBatches

BILLION, RANKS = 10**9, 512


@pytest.fixture(params=["kept", "computed"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "computed":
        monkeypatch.setattr(order, "KEPT", 0)


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("n", [1, 2, 3, 10, 97, 100, 101, 4096, 10_007])
def test_every_image_comes_once(n: int) -> None:
    assert EpochOrder(n, seed=1, epoch=0)[:].sort().values.tolist() == list(range(n))


@pytest.mark.usefixtures("either")
def test_seed_and_epoch_decide() -> None:
    orders = [EpochOrder(100, s, e)[:].tolist() for s, e in ((1, 0), (1, 0), (1, 1), (2, 0))]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2] != orders[3] != orders[0]


@pytest.mark.usefixtures("either")
def test_a_part_is_part_of_the_whole() -> None:
    whole = EpochOrder(1000, seed=3, epoch=5)
    assert torch.equal(whole[320:352], whole[:][320:352])
    assert torch.equal(whole[990:1020], whole[:][990:])


def test_computed_positions_are_spread_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each tenth of the images gives its share to the first tenth of an epoch."""
    monkeypatch.setattr(order, "KEPT", 0)
    first = EpochOrder(10**6, seed=0, epoch=0)[: 10**5]
    share = torch.bincount(first // 10**5, minlength=10) / 10**4
    assert share.sub(1).abs().max() < 0.05  # five deviations of a random choice
    steps = (first[1:] - first[:-1]).double()
    assert steps.abs().mean() == pytest.approx(10**6 / 3, rel=0.01)  # of two random numbers
    pairs = torch.stack([first[1:].double(), first[:-1].double()])
    assert torch.corrcoef(pairs)[0, 1].abs() < 0.02


def test_a_billion_images_on_512_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    """No rank draws a permutation, late batches come at once, and ranks share them out."""
    monkeypatch.setattr(torch, "randperm", lambda *_, **__: pytest.fail("8 GB in every process"))
    batch = 64 * RANKS
    last = BILLION // batch - 1
    seen = []
    for rank in (0, 1, 255, RANKS - 1):
        batches = EpochBatches(BILLION, batch, seed=0, rank=rank, world_size=RANKS)
        batches.start_at(epoch=3, done=last)
        (only,) = list(batches)
        seen.append([i for _, i in only])
    whole = EpochOrder(BILLION, 0, 3)[last * batch : (last + 1) * batch].view(RANKS, 64)
    assert torch.equal(torch.tensor(seen), whole[[0, 1, 255, RANKS - 1]])
    assert whole.min() >= 0
    assert whole.max() < BILLION


def test_no_image_of_a_billion_comes_twice() -> None:
    """Half a million independent draws out of a billion would collide 125 times."""
    drawn = EpochOrder(BILLION, seed=0, epoch=0)[500_000_000:500_500_000]
    assert len(drawn.unique()) == len(drawn)
