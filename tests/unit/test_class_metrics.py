from __future__ import annotations

import pytest
import torch
from torch import nn

from sslight.class_metrics import class_metrics, update_metrics


def test_accuracies_that_say_something():
    assert set(class_metrics(6)) == {"top1", "top5"}
    assert set(class_metrics(5)) == {"top1"}
    assert set(class_metrics(6, top=(1,))) == {"top1"}


def test_each_head_has_its_own():
    assert set(class_metrics(6, heads=["a", "b"])) == {"a/top1", "a/top5", "b/top1", "b/top5"}
    assert set(class_metrics(2, multi_label=True, heads=["a", "b"])) == {"a/map", "b/map"}
    assert set(class_metrics(2, multi_label=True)) == {"map"}


def test_only_known_labels_count():
    metrics = nn.ModuleDict(class_metrics(3))
    logits = torch.eye(3)[[0, 1, 2, 0]]
    update_metrics(metrics, logits, torch.tensor([0, 2, -1, -1]))
    assert metrics["top1"].compute() == 0.5


def test_images_with_a_known_entry_count():
    metrics = nn.ModuleDict(class_metrics(2, multi_label=True))
    logits = torch.tensor([[3.0, 1.0], [2.0, 2.0], [1.0, -1.0], [9.0, 9.0]])
    update_metrics(metrics, logits, torch.tensor([[1, 0], [0, 1], [-1, 0], [-1, -1]]))
    assert metrics["map"].compute() == pytest.approx(1.0)


def test_heads_are_fed_their_logits():
    metrics = nn.ModuleDict(class_metrics(2, heads=["good", "bad"]))
    label = torch.tensor([0, 1])
    update_metrics(metrics, {"good": torch.eye(2), "bad": torch.eye(2).flip(0)}, label)
    assert metrics["good/top1"].compute() == 1
    assert metrics["bad/top1"].compute() == 0
