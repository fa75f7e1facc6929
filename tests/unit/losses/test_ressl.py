from __future__ import annotations

import pytest
import torch

from sslight.losses.ressl import relational_loss

ROWS, BANK = torch.ones(2, 3), torch.eye(3)


@pytest.mark.parametrize(
    ("teacher", "bank"), [(torch.ones(2, 4), BANK), (ROWS, torch.ones(5, 4)), (ROWS, BANK[0])]
)
def test_refuses_shapes_that_do_not_agree(teacher, bank):
    with pytest.raises(ValueError, match=r"student and teacher \[B, P\] and a bank \[K, P\]"):
        relational_loss(ROWS, teacher, bank)


@pytest.mark.parametrize("name", ["student_temperature", "teacher_temperature"])
def test_refuses_temperatures_of_zero(name):
    with pytest.raises(ValueError, match=f"{name} must be above 0"):
        relational_loss(ROWS, ROWS, BANK, **{name: 0.0})


def test_lengths_do_not_matter():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 4, 3, generator=generator).unbind()
    scaled = relational_loss(5 * a, 0.1 * b, BANK)
    torch.testing.assert_close(scaled, relational_loss(a, b, BANK))
