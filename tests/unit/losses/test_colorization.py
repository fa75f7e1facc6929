from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from sslight.losses.colorization import colorization_loss


def test_one_bin_of_weight_one_is_cross_entropy():
    logits, label = torch.randn(6, 9), torch.tensor([0, 8, 3, 3, 1, 5])
    loss = colorization_loss(logits, label[:, None], torch.ones(6, 1), torch.ones(6))
    torch.testing.assert_close(loss, F.cross_entropy(logits, label))


def test_refuses_shapes_that_do_not_agree():
    logits, index = torch.zeros(6, 9), torch.zeros(6, 2, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"do not agree: .*\(6, 9\), \(6, 2\), \(6, 3\), \(6,\)"):
        colorization_loss(logits, index, torch.ones(6, 3), torch.ones(6))
    with pytest.raises(ValueError, match="do not agree"):
        colorization_loss(logits, index, torch.ones(6, 2), torch.ones(5))
