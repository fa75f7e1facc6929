"""DeepCluster-v2 against loops written from the paper: the loss, and some epochs of the method."""

from __future__ import annotations

import pytest
import torch

from sslight.augment.draws import seed_of
from sslight.losses.deepcluster_v2 import cluster_prediction
from sslight.methods.deepcluster_v2 import _STREAM, DeepClusterV2
from sslight.modules.kmeans import kmeans
from sslight.schedules import Clock


def oracle(
    crops: list[torch.Tensor], centroids: torch.Tensor, target: torch.Tensor, t: float
) -> torch.Tensor:
    """A head, a crop and an image at a time; images without a cluster are left out."""
    of_heads = []
    for unit, ids in zip(centroids, target, strict=True):
        terms = []
        for crop in crops:
            for z, k in zip(crop, ids.tolist(), strict=True):
                if k >= 0:
                    scores = [(z / z.norm()) @ c / t for c in unit]
                    total = sum(torch.exp(s) for s in scores)
                    terms.append(-torch.log(torch.exp(scores[k]) / total))
        of_heads.append(sum(terms) / len(terms))
    return sum(of_heads) / len(of_heads)


def directions(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    rows = torch.randn(*shape, generator=generator, dtype=torch.float64)
    return rows / rows.norm(dim=-1, keepdim=True)


@pytest.mark.parametrize("crops", [1, 3])
@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_value_and_gradient_equal_the_loops(crops, heads, temperature):
    z = (3 * directions(crops * 5, 4)).requires_grad_()
    centroids = directions(heads, 6, 4)
    target = torch.randint(6, (heads, 5), generator=torch.Generator().manual_seed(0))
    target[0, 2] = -1
    loss = cluster_prediction(z, centroids, target, temperature)
    expected = oracle(list(z.chunk(crops)), centroids, target, temperature)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    mine, theirs = torch.autograd.grad(loss, [z])[0], torch.autograd.grad(expected, [z])[0]
    torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


def test_counting_unknown_images_would_be_noticed():
    z, centroids = directions(5, 4), directions(1, 6, 4)
    target = torch.tensor([[0, 1, -1, 2, 3]])
    mutant = cluster_prediction(z, centroids, target) * 4 / 5
    assert abs(mutant.item() - oracle([z], centroids, target, 0.1).item()) > 1e-2


class Flat(torch.nn.Module):
    """Pixels are the embedding, so that the oracle can follow."""

    embed_dim = 12

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)


def test_epochs_of_the_method_are_the_loops(monkeypatch):
    """Memory, centroids and assignments, over three epochs of two batches and a dropped image."""
    images = directions(9, 3, 2, 2)
    monkeypatch.setattr(DeepClusterV2, "dataset_features", lambda self, split: images.flatten(1))
    torch.manual_seed(0)
    method = DeepClusterV2(Flat(), hidden_dim=6, out_dim=4, num_clusters=3, heads=3, bn=False)
    method.seed = 7
    method.on_data(9, None)
    method.double()
    unit = [project(method, images)] * 2
    for epoch in range(3):
        method.before_epoch(Clock(2 * epoch, 6, 2))
        generator = torch.Generator().manual_seed(seed_of(7, _STREAM, epoch))
        found = [kmeans(unit[h % 2], 3, 10, spherical=True, generator=generator) for h in range(3)]
        ids = [(unit[h % 2] @ found[h].T).argmax(1) for h in range(3)]
        torch.testing.assert_close(method.memory.centroids, torch.stack(found))
        assert torch.equal(method.memory.assignments, torch.stack(ids))
        for index in torch.randperm(9, generator=generator)[:8].chunk(2):
            views = [images[index], images[index].flip(3), images[index].flip(2)]
            expected = [project(method, view) for view in views]
            loss = method.training_loss({"views": views, "index": index}).loss
            target = torch.stack(ids)[:, index]
            assert loss.item() == pytest.approx(
                oracle(expected, torch.stack(found), target, 0.1).item(), rel=1e-10
            )
            unit = [crop.index_copy(0, index, z) for crop, z in zip(unit, expected, strict=False)]
            torch.testing.assert_close(method.memory.rows, torch.stack(unit))
            step(method, loss)


def project(method: DeepClusterV2, images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        z = method.projector(images.flatten(1))
    return z / z.norm(dim=1, keepdim=True)


def step(method: DeepClusterV2, loss: torch.Tensor) -> None:
    parameters = list(method.projector.parameters())
    with torch.no_grad():
        for p, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            p -= 0.5 * gradient
