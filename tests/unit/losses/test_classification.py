from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from sslight.losses.classification import cross_entropy, multilabel_bce


@pytest.fixture
def logits():
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()


def test_unknown_labels_do_not_count(logits):
    label = torch.tensor([0, -1, 3, 2, -1, 1])
    known = label >= 0
    loss = cross_entropy(logits, label, label_smoothing=0.1)
    expected = F.cross_entropy(logits[known], label[known], label_smoothing=0.1)
    torch.testing.assert_close(loss, expected)
    (grad,) = torch.autograd.grad(loss, logits)
    assert (grad[~known] == 0).all()
    assert (grad[known] != 0).all()


def test_probabilities_as_targets(logits):
    target = torch.rand(6, 4).softmax(1)
    target[2] = -1
    keep = [0, 1, 3, 4, 5]
    expected = -(target[keep] * logits[keep].log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(cross_entropy(logits, target), expected)


@pytest.mark.parametrize("loss", [cross_entropy, multilabel_bce])
def test_nothing_known_gives_zero_not_nan(logits, loss):
    label = torch.full((6, 4), -1) if loss is multilabel_bce else torch.full((6,), -1)
    value = loss(logits, label)
    (grad,) = torch.autograd.grad(value, logits)
    assert value.item() == 0
    assert (grad == 0).all()


def test_multilabel_ignores_entries(logits):
    label = torch.tensor([[1, 0, -1, 0]] * 6, dtype=torch.int8)
    expected = F.binary_cross_entropy_with_logits(logits[:, [0, 1, 3]], label[:, [0, 1, 3]].float())
    torch.testing.assert_close(multilabel_bce(logits, label), expected)


def test_multilabel_smoothing_pulls_towards_one_half(logits):
    label = torch.ones(6, 4)
    expected = F.binary_cross_entropy_with_logits(logits, torch.full((6, 4), 0.9))
    torch.testing.assert_close(multilabel_bce(logits, label, label_smoothing=0.2), expected)


def test_multilabel_refuses_class_ids(logits):
    with pytest.raises(ValueError, match=r"labels must be \[B, K\] = \(6, 4\).*got \(6,\)"):
        multilabel_bce(logits, torch.zeros(6))
