from __future__ import annotations

import pytest
import torch

from sslight.losses.koleo import koleo


@pytest.mark.parametrize("shape", [(1, 4), (4,), (2, 3, 4)])
def test_refuses_what_has_no_neighbours(shape):
    with pytest.raises(ValueError, match="two or more images"):
        koleo(torch.ones(*shape))
