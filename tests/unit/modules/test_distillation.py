from __future__ import annotations

import pytest
import torch
from torch import nn

from sslight.losses.byol import regression
from sslight.losses.distillation import prototype_distillation
from sslight.modules.cosine_logits import CosineLogits
from sslight.modules.distillation import (
    Assignments,
    Kind,
    Lesson,
    Regression,
    Similarities,
    SoftTargets,
)


def lesson(kind: Kind, **options: object) -> Lesson:
    usual = {
        "hidden_dim": 16,
        "layers": 2,
        "out_dim": 4,
        "student_temperature": None,
        "teacher_temperature": None,
        "temperature": 2.0,
        "alpha": 0.5,
        "queue_size": 8,
        "sinkhorn_iterations": 3,
    }
    return Lesson(kind=kind, **{**usual, **options})


@pytest.mark.parametrize(("kind", "built", "gives"), [
    ("features", Regression, "embeddings"),
    ("similarities", Similarities, "embeddings"),
    ("prototypes", Assignments, "prototypes"),
    ("soft", SoftTargets, "classes"),
])  # fmt: skip
def test_each_kind_has_its_objective(kind, built, gives):
    """Its head takes the student's width; the loss compares with outputs of the teacher's."""
    wanted = lesson(kind)
    objective = wanted.objective(3, 5)
    assert type(objective) is built
    assert objective.head(torch.randn(4, 3)).shape == (4, 5)
    target, label = torch.randn(4, 5), torch.tensor([0, -1, 2, 4])
    assert objective(torch.randn(4, 3), target, label).isfinite()
    assert wanted.gives == gives


def test_heads_have_the_sizes_asked_for():
    head = lesson("features", layers=3).objective(3, 5).head
    widths = [m.out_features for m in head.modules() if isinstance(m, nn.Linear)]
    assert widths == [16, 16, 5]
    projector, own = lesson("prototypes").objective(3, 5).head
    assert isinstance(own, CosineLogits)
    assert own.weight.shape == (5, 4)
    assert projector(torch.randn(4, 3)).shape == (4, 4)
    assert lesson("similarities").objective(3, 5).queue.rows.shape == (8, 5)


def test_temperatures_are_the_papers_unless_given():
    assert lesson("similarities").temperatures == (0.2, 0.01)
    assert lesson("prototypes").temperatures == (0.1, 0.03)
    assert lesson("prototypes", teacher_temperature=0.07).temperatures == (0.1, 0.07)
    assert lesson("similarities", student_temperature=0.3).temperatures == (0.3, 0.01)
    both = {"student_temperature": 0.3, "teacher_temperature": 0.4}
    built = lesson("similarities", **both).objective(3, 5)
    assert list(built.temperatures.values()) == [0.3, 0.4]


def test_what_a_lesson_looks_at():
    assert lesson("similarities").compares_images
    assert lesson("prototypes").compares_images
    assert not lesson("prototypes", sinkhorn_iterations=0).compares_images
    assert not lesson("features").compares_images
    assert lesson("soft").reads_labels
    assert not lesson("soft", alpha=1).reads_labels
    assert not lesson("features").reads_labels


def test_what_cannot_be_learnt_is_refused():
    with pytest.raises(ValueError, match="kind is 'hard'; use one of"):
        lesson("hard")
    with pytest.raises(ValueError, match="alpha is 2, use 0 to 1"):
        lesson("soft", alpha=2)
    with pytest.raises(ValueError, match="temperatures are above 0"):
        lesson("similarities", teacher_temperature=0)
    lesson("features").check_teacher(given=False)
    lesson("soft").check_teacher(given=True)
    with pytest.raises(ValueError, match="kind soft learns from a teacher's classes; give it"):
        lesson("soft").check_teacher(given=False)


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
