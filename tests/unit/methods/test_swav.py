from __future__ import annotations

import pytest
import torch
from torch import nn

from sslight.losses.sinkhorn import sinkhorn
from sslight.losses.swav import swapped_prediction
from sslight.methods.swav import SwAV


def net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def build(**options: object) -> SwAV:
    torch.manual_seed(0)
    return SwAV(net(), **{"hidden_dim": 16, "out_dim": 5, "num_prototypes": 7, **options})


def views(*sizes: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(4, 3, size, size, generator=generator) for size in sizes]


class At:
    epochs = 2.5


def test_all_crops_predict_the_codes_of_the_global_ones():
    method, crops = build(), views(8, 8, 6)
    output = method.training_loss({"views": crops, "n_global": 2})
    embedding = torch.cat([method.backbone(torch.cat(crops[:2])), method.backbone(crops[2])])
    scores = method.prototypes(method.projector(embedding))[0].chunk(3)
    codes = [sinkhorn(s.detach()) for s in scores[:2]]
    torch.testing.assert_close(output.loss, swapped_prediction(scores, codes))
    torch.testing.assert_close(output.embedding, embedding)


def test_heads_are_averaged():
    method = build(num_prototypes=[7, 4]).eval()
    batch = {"views": views(8, 8)}
    z = method.projector(method.backbone(torch.cat(batch["views"])))
    losses = []
    for scores in method.prototypes(z):
        crops = scores.chunk(2)
        losses.append(swapped_prediction(crops, [sinkhorn(s.detach()) for s in crops]))
    loss = method.training_loss(batch).loss
    torch.testing.assert_close(loss, (losses[0] + losses[1]) / 2)


@pytest.mark.parametrize(("start", "pushed"), [(0.0, 4), (2.5, 4), (3.0, 0)])
def test_the_queue_is_filled_from_its_epoch_on(start, pushed, monkeypatch):
    monkeypatch.setattr(SwAV, "clock", At)
    method = build(queue_size=6, queue_start=start)
    method.training_loss({"views": views(8, 8)})
    assert method.queue.pushed == pushed


def test_only_training_moves_the_queue(monkeypatch):
    monkeypatch.setattr(SwAV, "clock", At)
    method = build(queue_size=6)
    with torch.no_grad():
        method.training_loss({"views": views(8, 8)})
    method.eval().training_loss({"views": views(8, 8)})
    assert method.queue.pushed == 0


def test_a_teacher_gives_the_codes_and_sees_the_code_crops_only():
    method, crops = build(momentum_teacher=0.99), views(8, 8, 6)
    with torch.no_grad():
        method.teacher.teacher[0][0].weight.normal_()
    seen = []
    method.teacher.teacher[0].register_forward_hook(lambda m, i, o: seen.append(i[0].shape))
    loss = method.training_loss({"views": crops, "n_global": 2}).loss
    assert seen == [(8, 3, 8, 8)]
    embedding = torch.cat([method.backbone(torch.cat(crops[:2])), method.backbone(crops[2])])
    scores = method.prototypes(method.projector(embedding))[0].chunk(3)
    keys = method.teacher(torch.cat(crops[:2])).chunk(2)
    codes = [sinkhorn(method.prototypes(key)[0]) for key in keys]
    torch.testing.assert_close(loss, swapped_prediction(scores, codes))
    loss.backward()
    assert all(p.grad is None for p in method.teacher.parameters())


def test_too_few_global_views_are_said():
    with pytest.raises(ValueError, match="code_crops is 2, but the batch has 3 views, of which 1"):
        build().training_loss({"views": views(8, 6, 6), "n_global": 1})


def test_wrong_numbers_are_said():
    with pytest.raises(ValueError, match="queue_size -1"):
        build(queue_size=-1)


def test_evaluated_is_the_backbone():
    method = build(momentum_teacher=0.99)
    assert method.eval_backbone is method.backbone
