from __future__ import annotations

import pytest
import torch

from sslight.losses.dino import centered_softmax
from sslight.losses.sinkhorn import sinkhorn
from sslight.modules.targets import Targets


def logits(rows: int = 6) -> torch.Tensor:
    return torch.randn(rows, 4, generator=torch.Generator().manual_seed(rows))


def test_sinkhorn_at_the_teachers_temperature():
    targets = Targets(4)
    assert torch.equal(targets(logits(), 0.07), sinkhorn(logits(), 0.07))
    assert not targets.state_dict()


def test_rows_that_do_not_count_change_nothing_for_the_others():
    counted = torch.tensor([1, 1, 0, 1, 0, 1]).bool()
    for centering in ("sinkhorn", "center"):
        whole, part = Targets(4, centering), Targets(4, centering)
        for _ in range(2):  # the second time with centers that have moved
            torch.testing.assert_close(
                whole(logits(), 0.1, counted)[counted], part(logits()[counted], 0.1)
            )


def test_a_running_mean_that_moves_after_it_was_used():
    targets = Targets(4, "center", 0.8)
    for center in (torch.zeros(4), 0.2 * logits().mean(0)):
        torch.testing.assert_close(targets.center.value, center)
        torch.testing.assert_close(targets(logits(), 0.1), centered_softmax(logits(), center, 0.1))


@pytest.mark.parametrize("moment", ["eval", "no_grad"])
def test_it_moves_while_training_only(moment):
    targets = Targets(4, "center").train(moment != "eval")
    with torch.set_grad_enabled(moment != "no_grad"):
        targets(logits(), 0.1)
    assert not targets.center.value.any()


def test_another_centering_is_refused():
    with pytest.raises(ValueError, match="centering is 'mean'; use one of"):
        Targets(4, "mean")
