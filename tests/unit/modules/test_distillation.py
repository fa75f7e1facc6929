from __future__ import annotations

import pytest
import torch
from torch import nn

from sslight.losses.byol import regression
from sslight.losses.distillation import prototype_distillation
from sslight.modules.distillation import Assignments, Regression, Similarities, SoftTargets


def test_regression_needs_no_labels():
    objective = Regression(nn.Linear(3, 5))
    embedding, target = torch.randn(4, 3), torch.randn(4, 5)
    expected = regression(objective.head(embedding), target)
    assert torch.equal(objective(embedding, target, None), expected)


def test_the_queue_moves_in_training_only():
    objective = Similarities(nn.Linear(3, 5), 5, 8, 0.2, 0.01)
    before = objective.queue.rows.clone()
    embedding, target = torch.randn(4, 3), torch.randn(4, 5)
    objective.eval()(embedding, target, None)
    with torch.no_grad():
        objective.train()(embedding, target, None)
    assert torch.equal(objective.queue.rows, before)
    objective(embedding, target, None).backward()
    torch.testing.assert_close(objective.queue.rows[:4], nn.functional.normalize(target, dim=1))
    assert torch.equal(objective.queue.rows[4:], before[4:])


def test_assignments_have_the_temperatures_they_were_given():
    objective = Assignments(nn.Linear(3, 5), 2, 0.3, 0.07)
    embedding, target = torch.randn(4, 3), torch.randn(4, 5)
    expected = prototype_distillation(
        objective.head(embedding),
        target,
        student_temperature=0.3,
        teacher_temperature=0.07,
        iterations=2,
    )
    assert torch.equal(objective(embedding, target, None), expected)


def test_soft_targets_ask_for_labels_they_use():
    embedding, target = torch.randn(4, 3), torch.randn(4, 5)
    assert SoftTargets(3, 5, 2.0, 1.0)(embedding, target, None).isfinite()
    with pytest.raises(ValueError, match="alpha below 1 needs one class per image"):
        SoftTargets(3, 5, 2.0, 0.5)(embedding, target, None)
    with pytest.raises(ValueError, match="needs one class per image"):
        SoftTargets(3, 5, 2.0, 0.5)(embedding, target, torch.ones(4, 5))
