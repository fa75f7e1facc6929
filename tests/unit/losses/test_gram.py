from __future__ import annotations

import pytest
import torch

from sslight.losses.gram import gram_loss


def test_refuses_other_patches():
    with pytest.raises(ValueError, match=r"got \(2, 4, 3\) and \(2, 5, 3\)"):
        gram_loss(torch.ones(2, 4, 3), torch.ones(2, 5, 3))
    with pytest.raises(ValueError, match=r"got \(4, 3\) and \(4, 3\)"):
        gram_loss(torch.ones(4, 3), torch.ones(4, 3))
