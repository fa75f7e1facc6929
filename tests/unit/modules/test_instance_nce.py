from __future__ import annotations

import torch

from sslight.modules.instance_nce import InstanceNCE, others
from sslight.modules.memory_bank import MemoryBank


def module() -> InstanceNCE:
    torch.manual_seed(0)
    return InstanceNCE(MemoryBank(10, 4), num_negatives=6, temperature=0.5)


def embeddings(seed: int) -> torch.Tensor:
    return torch.randn(3, 4, generator=torch.Generator().manual_seed(seed))


INDEX = torch.tensor([4, 9, 0])


def losses(nce: InstanceNCE, *seeds: int) -> list[torch.Tensor]:
    return nce([embeddings(seed) for seed in seeds], INDEX, seed=1, epoch=0)


def test_negatives_are_all_others_and_never_the_image():
    drawn = others(torch.arange(5), 5, 4000, seed=0, epoch=0)
    for image, row in enumerate(drawn):
        counts = torch.bincount(row, minlength=5)
        assert counts[image] == 0
        assert (counts[[i for i in range(5) if i != image]] - 1000).abs().max() < 150


def test_negatives_depend_on_seed_epoch_and_image_only():
    drawn = others(INDEX, 100, 8, seed=1, epoch=2)
    assert torch.equal(drawn[1:2], others(INDEX[1:2], 100, 8, seed=1, epoch=2))
    for other in (
        others(INDEX, 100, 8, seed=2, epoch=2),
        others(INDEX, 100, 8, seed=1, epoch=3),
        others(INDEX + 1, 100, 8, seed=1, epoch=2),
    ):
        assert (other != drawn).any(1).all()


def test_the_constant_is_estimated_once_in_training():
    nce = module()
    assert nce.log_z == float("-inf")
    with torch.no_grad():
        losses(nce, 0)
    losses(nce.eval(), 0)
    assert nce.log_z == float("-inf")
    losses(nce.train(), 0, 1)
    first = nce.log_z.clone()
    assert first.isfinite()
    losses(nce, 2, 3)
    assert torch.equal(nce.log_z, first)


def test_a_saved_constant_is_kept():
    nce, other = module(), module()
    losses(nce, 0)
    other.load_state_dict(nce.state_dict())
    losses(other, 5)
    assert torch.equal(other.log_z, nce.log_z)


def test_outputs_are_compared_with_the_same_candidates():
    first, second = losses(module(), 7, 7)
    assert torch.equal(first, second)
