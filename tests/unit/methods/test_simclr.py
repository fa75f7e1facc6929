from __future__ import annotations

import pytest
import tiny
import torch
from torch import nn

from sslight import SSLDataModule
from sslight.augment.presets import PRESETS
from sslight.data.sources.shapes import Shapes
from sslight.losses.nt_xent import nt_xent, nt_xent_multiview
from sslight.methods.simclr import SimCLR


@pytest.fixture
def method():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return SimCLR(net, hidden_dim=16, out_dim=5, temperature=0.2)


def views(*sizes: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(4, 3, size, size, generator=generator) for size in sizes]


def test_loss_is_nt_xent_of_the_projections(method):
    a, b = views(8, 8)
    output = method.training_loss({"views": [a, b]})
    embedding = method.backbone(torch.cat([a, b]))
    z = method.projector(embedding)
    torch.testing.assert_close(output.loss, nt_xent(z[:4], z[4:], 0.2))
    torch.testing.assert_close(output.embedding, embedding)


def test_many_crops_of_two_sizes(method):
    crops = views(8, 8, 6, 6)
    output = method.training_loss({"views": crops})
    embedding = torch.cat([method.backbone(crop) for crop in crops])
    z = method.projector(embedding).chunk(4)
    torch.testing.assert_close(output.loss, nt_xent_multiview(z, 0.2))
    assert output.embedding.shape == (16, 6)


def test_global_and_local_crops_of_a_preset_train_it(method):
    """Two global and three smaller local crops, from the data module to the last step."""
    seen = []
    method.backbone[0].register_forward_hook(lambda m, i, o: seen.append(tuple(i[0].shape)))
    views = PRESETS["swav"](size=16, local_size=8, count=2, local_count=3)
    data = SSLDataModule(Shapes(8, size=16), views=views, batch_size=4, workers=0)
    before = method.backbone[0].weight.clone()
    tiny.trainer().fit(method, datamodule=data)
    assert seen == 2 * [(8, 3, 16, 16), (12, 3, 8, 8)]
    assert not torch.equal(method.backbone[0].weight, before)


def test_every_parameter_gets_a_gradient(method):
    method.training_loss({"views": views(8, 8)}).loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())
    assert any((p.grad != 0).any() for p in method.backbone.parameters())


def test_facts_of_the_method(method):
    assert method.accumulation == "approximate"
    assert method.needs == ("views",)
    assert method.projector[0].in_features == 6
    assert method.eval_backbone is method.backbone


def test_it_learns_to_tell_images_apart(method):
    a = views(8)[0]
    optimizer = torch.optim.Adam(method.parameters(), 0.02)
    losses = []
    for _ in range(30):
        loss = method.training_loss({"views": [a, a + 0.01]}).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
