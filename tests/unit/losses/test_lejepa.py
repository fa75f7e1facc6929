from __future__ import annotations

import pytest
import torch

from sslight.losses.lejepa import lejepa_loss

A, B = torch.ones(2, 3), torch.ones(2, 4)


@pytest.mark.parametrize(
    ("views", "targets", "found"),
    [
        ([], [A], "got 0 and 1"),
        ([A, A], [], "got 2 and 0"),
        ([A, B], [A], r"got 2 and 1 of \(2, 3\), \(2, 4\)"),
        ([A[0]], [A[0]], r"got 1 and 1 of \(3,\)"),
    ],
)
def test_refuses_shapes_that_do_not_agree(views, targets, found):
    with pytest.raises(ValueError, match=rf"views and targets of one shape \[B, P\], {found}"):
        lejepa_loss(views, targets, torch.ones(3, 2))


def test_refuses_directions_of_another_space():
    with pytest.raises(ValueError, match=r"\[P, M\] with P = 3, got \(4, 2\)"):
        lejepa_loss([A, A], [A], torch.ones(4, 2))
