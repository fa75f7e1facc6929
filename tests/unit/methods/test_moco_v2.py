from __future__ import annotations

from types import SimpleNamespace

import pytest
import tiny
import torch
import torch.nn.functional as F
from torch import nn

from sslight.losses.moco_v2 import moco_v2_loss
from sslight.methods.moco_v2 import MoCoV2
from sslight.modules.split_batch_norm import SplitBatchNorm
from sslight.schedules import Clock


def build(norm: type[nn.Module] = nn.Identity, **options) -> MoCoV2:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3), norm(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    return MoCoV2(net, hidden_dim=16, out_dim=5, queue_size=12, **options)


def views(batch: int = 4) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(batch, 3, 8, 8, generator=generator) for _ in range(2)]


def projected(method: MoCoV2, view: torch.Tensor) -> torch.Tensor:
    return method.projector(method.backbone(view))


def test_the_first_view_asks_the_second_answers():
    method, (a, b) = build(), views()
    queue = method.queue.rows.clone()
    output = method.training_loss({"views": [a, b]})
    key = F.normalize(method.key_encoder(b), dim=1)
    torch.testing.assert_close(output.loss, moco_v2_loss(projected(method, a), key, queue, 0.2))
    torch.testing.assert_close(output.embedding, method.backbone(a))
    torch.testing.assert_close(method.queue.rows[:4], key)
    assert torch.equal(method.queue.rows[4:], queue[4:])


def test_symmetric_is_the_mean_of_both_ways_against_one_queue():
    method, (a, b) = build(symmetric=True), views()
    queue = method.queue.rows.clone()
    output = method.training_loss({"views": [a, b]})
    keys = [F.normalize(method.key_encoder(view), dim=1) for view in (b, a)]
    ways = [
        moco_v2_loss(projected(method, view), key, queue, 0.2)
        for view, key in zip((a, b), keys, strict=True)
    ]
    torch.testing.assert_close(output.loss, sum(ways) / 2)
    torch.testing.assert_close(output.embedding, method.backbone(torch.cat([a, b])))
    torch.testing.assert_close(method.queue.rows[:8], torch.cat(keys))


def test_the_queue_moves_only_in_training():
    method = build()
    before = method.queue.rows.clone()
    with torch.no_grad():
        method.training_loss({"views": views()})
    method.eval().training_loss({"views": views()})
    assert torch.equal(method.queue.rows, before)


def test_the_backward_comes_after_the_queue_has_moved():
    method = build()
    method.training_loss({"views": views()}).loss.backward()
    for name, parameter in method.named_parameters():
        assert (parameter.grad is None) == name.startswith("key_encoder."), name


def test_the_momentum_encoder_follows():
    method = build(momentum=0.9)
    before = method.key_encoder.teacher[1][0].weight.clone()
    with torch.no_grad():
        method.projector[0].weight.add_(1)
    method.key_encoder.after_step(Clock(step=0, total=10, per_epoch=5))
    torch.testing.assert_close(method.key_encoder.teacher[1][0].weight, before + 0.1)
    assert build().key_encoder.momentum(Clock(0, 10, 5)) == 0.999


def with_generator(method: MoCoV2, monkeypatch, seed: int = 5) -> MoCoV2:
    shared = SimpleNamespace(seed=seed)
    monkeypatch.setattr(
        MoCoV2, "shared_generator", lambda self, tag: torch.Generator().manual_seed(shared.seed)
    )
    return method


def test_split_batch_norms_are_in_both_encoders_and_see_shuffled_keys(monkeypatch):
    methods = [
        with_generator(build(nn.BatchNorm2d, bn_splits=2, shuffle=shuffle), monkeypatch)
        for shuffle in (True, False)
    ]
    for method in methods:
        norms = [m for m in method.modules() if isinstance(m, SplitBatchNorm)]
        assert len(norms) == 2
        method.training_loss({"views": views(8)})
    (_, b), (shuffled, straight) = views(8), methods
    order = torch.randperm(8, generator=torch.Generator().manual_seed(5))
    key = torch.empty(8, 5)
    key[order] = F.normalize(straight.key_encoder(b[order]), dim=1)
    torch.testing.assert_close(shuffled.queue.rows[:8], key)
    assert not torch.allclose(straight.queue.rows[:8], key, atol=1e-3)


def test_no_shuffle_where_batch_norms_see_the_whole_batch():
    build(nn.BatchNorm2d).training_loss({"views": views()})  # would need a trainer's generator


def test_other_than_two_views_and_bad_numbers_are_refused():
    with pytest.raises(ValueError, match="has 3 views"):
        build().training_loss({"views": [*views(), views()[0]]})
    with pytest.raises(ValueError, match="temperature must be above 0"):
        build(temperature=0)
    with pytest.raises(ValueError, match="bn_splits is 0"):
        build(bn_splits=0)


def test_a_trainer_gives_the_permutation():
    def trained() -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        method = MoCoV2(tiny.resnet(), hidden_dim=8, out_dim=4, queue_size=16, bn_splits=2)
        return tiny.snapshot(tiny.fit(method, "moco_v2"))

    tiny.assert_same(trained(), trained())
