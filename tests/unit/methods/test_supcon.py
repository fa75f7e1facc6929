from __future__ import annotations

import pytest
import torch
from torch import nn

from sslight.losses.supcon import supcon
from sslight.methods.supcon import SupCon


def build(**options) -> SupCon:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return SupCon(net, **{"hidden_dim": 16, "out_dim": 5, "temperature": 0.2, **options})


def views(*sizes: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(4, 3, size, size, generator=generator) for size in sizes]


LABEL = torch.tensor([0, 1, -1, 0])


def test_loss_is_that_of_the_projections_and_labels():
    method, crops = build(base_temperature=0.1), views(8, 8)
    output = method.training_loss({"views": crops, "label": LABEL})
    embedding = method.backbone(torch.cat(crops))
    z = method.projector(embedding).chunk(2)
    torch.testing.assert_close(output.loss, supcon(z, LABEL, 0.2, 0.1))
    torch.testing.assert_close(output.embedding, embedding)


def test_many_crops_of_two_sizes():
    method, crops = build(), views(8, 8, 6)
    output = method.training_loss({"views": crops, "label": LABEL})
    z = method.projector(torch.cat([method.backbone(crop) for crop in crops])).chunk(3)
    torch.testing.assert_close(output.loss, supcon(z, LABEL, 0.2))


def test_labels_are_needed():
    assert SupCon.needs == ("views", "label")


@pytest.mark.parametrize("name", ["temperature", "base_temperature"])
def test_temperatures_of_zero_are_refused(name):
    with pytest.raises(ValueError, match=f"supcon: {name} must be above 0"):
        build(**{name: 0.0})
