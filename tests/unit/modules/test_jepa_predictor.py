from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sslight.modules.jepa_predictor import JepaPredictor


@pytest.fixture
def predictor() -> JepaPredictor:
    torch.manual_seed(0)
    made = JepaPredictor(12, dim=8, depth=2, heads=2)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(4)  # so that attention matters
    return made


def inputs() -> dict[str, Tensor]:
    context = torch.tensor([[0, 1, 5], [10, 2, 4]])
    targets = torch.tensor([[[6, 7, 6], [8, 9, 10]], [[14, 15, 14], [8, 12, 8]]])
    return {
        "tokens": torch.randn(2, 3, 12, generator=torch.Generator().manual_seed(0)),
        "context": context,
        "targets": targets,
        "valid": torch.tensor([[[1, 1, 0], [1, 1, 1]], [[1, 1, 0], [1, 1, 0]]]).bool(),
    }


def test_each_block_is_predicted_by_itself(predictor):
    x = inputs()
    whole = predictor(**x, grid=(4, 4))
    assert whole.shape == (2, 2, 3, 12)
    second = {**x, "targets": x["targets"][:, 1:], "valid": x["valid"][:, 1:]}
    torch.testing.assert_close(predictor(**second, grid=(4, 4)), whole[:, 1:])


def test_what_fills_a_block_up_changes_nothing(predictor):
    x = inputs()
    whole, valid = predictor(**x, grid=(4, 4)), x["valid"]
    filled = {**x, "targets": torch.where(valid, x["targets"], 3)}
    torch.testing.assert_close(predictor(**filled, grid=(4, 4))[valid], whole[valid])
    seen = {**filled, "valid": torch.ones_like(valid)}  # mutant
    assert not torch.allclose(predictor(**seen, grid=(4, 4))[valid], whole[valid], atol=1e-3)


def test_the_order_of_the_context_does_not_matter_but_its_places_do(predictor):
    x = inputs()
    whole = predictor(**x, grid=(4, 4))
    turned = {**x, "tokens": x["tokens"].flip(1), "context": x["context"].flip(1)}
    torch.testing.assert_close(predictor(**turned, grid=(4, 4)), whole, rtol=1e-4, atol=1e-5)
    moved = {**x, "context": x["context"].flip(1)}
    assert not torch.allclose(predictor(**moved, grid=(4, 4)), whole, atol=1e-3)
