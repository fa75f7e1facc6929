from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sslight.errors import RefusedRunError
from sslight.methods.supervised import Supervised


def backbone() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def batch(label: list, views: int = 1) -> dict:
    generator = torch.Generator().manual_seed(1)
    n = len(label)
    images = [torch.randn(n, 3, 8, 8, generator=generator) for _ in range(views)]
    return {"views": images, "label": torch.tensor(label), "index": torch.arange(n)}


def test_loss_is_cross_entropy_over_known_labels_and_all_views():
    method = Supervised(backbone(), num_classes=4, label_smoothing=0.1).eval()
    x = batch([0, -1, 3, 2], views=2)
    output = method.training_loss(x)
    logits = torch.cat([method.predict(view) for view in x["views"]])
    label = x["label"].repeat(2)
    expected = F.cross_entropy(logits[label >= 0], label[label >= 0], label_smoothing=0.1)
    torch.testing.assert_close(output.loss, expected)
    assert output.embedding.shape == (8, 6)


def test_multi_label_ignores_unknown_entries():
    method = Supervised(backbone(), num_classes=3, multi_label=True).eval()
    x = batch([[1, 0, -1], [0, 0, 1]])
    logits = method.predict(x["views"][0])
    known = x["label"] >= 0
    expected = F.binary_cross_entropy_with_logits(logits[known], x["label"][known].float())
    torch.testing.assert_close(method.training_loss(x).loss, expected)


def test_head_is_built_from_the_data():
    method = Supervised(backbone())
    with pytest.raises(ValueError, match="no head yet"):
        method.predict(batch([0, 1])["views"][0])
    method.on_data(100, 7)
    assert method.head.weight.shape == (7, 6)
    head = method.head
    method.on_data(100, 7)
    assert method.head is head


def test_unlabelled_data_and_too_many_classes_are_refused():
    with pytest.raises(ValueError, match=r"set method\.num_classes"):
        Supervised(backbone()).on_data(100, None)
    with pytest.raises(ValueError, match="num_classes is 3, but the training data has 7"):
        Supervised(backbone(), num_classes=3).on_data(100, 7)


def test_frozen_backbone_stays_as_it_is():
    method = Supervised(backbone(), num_classes=3, frozen=True).train()
    before = {name: value.clone() for name, value in method.backbone.state_dict().items()}
    method.training_loss(batch([0, 1, 2])).loss.backward()
    assert all(p.grad is None for p in method.backbone.parameters())
    assert method.head.weight.grad is not None
    for name, value in method.backbone.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert method.training
    assert not method.backbone.training


@pytest.mark.parametrize("options", [{"mixup": 0.4}, {"cutmix": 1.0}])
def test_mixing_follows_seed_and_epoch(options, monkeypatch):
    method = Supervised(backbone(), num_classes=3, **options)
    method.seed = 5
    losses = []
    for epoch in (0, 0, 1):
        clock = property(lambda self, epoch=epoch: SimpleNamespace(epoch=epoch))
        monkeypatch.setattr(Supervised, "clock", clock)
        losses.append(method.training_loss(batch([0, 1, 2, -1])).loss.item())
    assert losses[0] == losses[1] != losses[2]


def test_metrics_are_named_and_right():
    method = Supervised(backbone(), num_classes=6)
    assert set(method.metrics) == {"top1", "top5"}
    logits = torch.tensor([[5.0, 4, 3, 2, 1, 0], [0, 1, 2, 3, 4, 5]])
    for metric in method.metrics.values():
        metric.update(logits, torch.tensor([5, 5]))
    assert method.metrics["top1"].compute() == 0.5
    assert method.metrics["top5"].compute() == 0.5
    assert set(Supervised(backbone(), num_classes=4).metrics) == {"top1"}
    assert not any("metrics" in name for name in method.state_dict())


def test_mean_average_precision_ignores_unknown_entries():
    method = Supervised(backbone(), num_classes=2, multi_label=True)
    method.metrics["map"].update(
        torch.tensor([[3.0, 1.0], [2.0, 2.0], [1.0, -1.0]]),
        torch.tensor([[1, 0], [0, 1], [-1, 0]], dtype=torch.int8),
    )
    assert method.metrics["map"].compute() == pytest.approx(1.0)


def test_labels_of_the_other_kind_are_refused():
    with pytest.raises(ValueError, match="multi_label is False"):
        Supervised(backbone(), num_classes=3).training_loss(batch([[1, 0, 1]]))
    with pytest.raises(ValueError, match="multi_label is True"):
        Supervised(backbone(), num_classes=3, multi_label=True).training_loss(batch([1, 0]))
    with pytest.raises(ValueError, match="label_smoothing is 2"):
        Supervised(backbone(), label_smoothing=2)


def test_one_class_is_nothing_to_learn() -> None:
    with pytest.raises(RefusedRunError, match="1 class, so there is nothing to tell apart"):
        Supervised(backbone()).on_data(8, 1)


def test_several_heads_train_as_if_each_were_alone() -> None:
    """The losses are summed, so that no head's gradient knows of the others."""
    net = backbone()
    both = {"2": "avg", "1": "avg_k3+bn"}
    method = Supervised(net, num_classes=3, frozen=True, heads=both, image_size=8).train()
    x = batch([0, 1, 2, -1, 1])
    output = method.training_loss(x)
    output.loss.backward()
    for name in both:
        alone = Supervised(net, num_classes=3, frozen=True, heads={name: both[name]}, image_size=8)
        alone.head.heads.load_state_dict(
            {k: v for k, v in method.head.heads.state_dict().items() if k.startswith(f"{name}.")}
        )
        alone.train().training_loss(x).loss.backward()
        torch.testing.assert_close(
            alone.head.heads[name].linear.weight.grad, method.head.heads[name].linear.weight.grad
        )
    assert all(p.grad is None for p in net.parameters())
    torch.testing.assert_close(output.embedding, net.eval()(x["views"][0]))
    assert set(method.metrics) == {"2/top1", "1/top1"}
    assert set(method.predict(x["views"][0])) == {"2", "1"}


def test_heads_say_which_size_they_need() -> None:
    with pytest.raises(ValueError, match="heads need image_size"):
        Supervised(backbone(), heads={"2": "avg"})
