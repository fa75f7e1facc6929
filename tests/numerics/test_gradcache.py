"""gradcache: the value and gradient of the whole batch, at the memory of a chunk."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from sslight.methods.byol import BYOL
from sslight.methods.simclr import SimCLR
from sslight.train_steps import gradcache, standard


def backbone(width: int = 8) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, width, 3),
        nn.GroupNorm(2, width),
        nn.ReLU(),
        nn.Conv2d(width, width, 3),
        nn.Tanh(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def method(kind: type = SimCLR) -> nn.Module:
    module = kind(backbone(), hidden_dim=12, out_dim=6)
    return module.double()


def views(sizes: tuple[int, ...] = (10, 10), batch: int = 7) -> dict:
    generator = torch.Generator().manual_seed(1)
    crops = [torch.randn(batch, 3, s, s, generator=generator, dtype=torch.float64) for s in sizes]
    return {"views": crops, "n_global": 2}


def loss_and_gradients(step, module, batch, **options):
    output = step(module, batch, **options)
    module.zero_grad()
    output.loss.backward()
    return output, {name: p.grad for name, p in module.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("kind", [SimCLR, BYOL])
@pytest.mark.parametrize("chunk", [1, 3, 14, 100])
@pytest.mark.parametrize("sizes", [(10, 10), (10, 10, 8)])
def test_equal_to_the_whole_batch(kind, chunk, sizes):
    plain, cached = method(kind), method(kind)
    cached.load_state_dict(plain.state_dict())
    whole, expected = loss_and_gradients(standard, plain, views(sizes))
    output, grads = loss_and_gradients(gradcache, cached, views(sizes), chunk=chunk)
    assert output.loss.item() == pytest.approx(whole.loss.item(), rel=1e-12)
    torch.testing.assert_close(output.embedding, whole.embedding, rtol=1e-12, atol=1e-12)
    assert set(grads) == set(expected)
    for name, grad in grads.items():
        torch.testing.assert_close(grad, expected[name], rtol=1e-12, atol=1e-12, msg=name)
    for name, value in plain.state_dict().items():  # the heads' batch norms moved once
        torch.testing.assert_close(cached.state_dict()[name], value, rtol=1e-12, atol=1e-12)


def chunks_one_by_one(module, batch, *, chunk):
    """The mistake gradcache must not be: a loss over each chunk by itself."""
    parts = [torch.stack(batch["views"]).split(chunk, dim=1)][0]
    outputs = [module.training_loss({"views": list(part.unbind())}) for part in parts]
    outputs[0].loss = torch.stack([output.loss for output in outputs]).mean()
    return outputs[0]


def test_a_loss_per_chunk_would_be_noticed():
    plain, other = method(), method()
    other.load_state_dict(plain.state_dict())
    _, expected = loss_and_gradients(standard, plain, views(batch=8))
    _, grads = loss_and_gradients(chunks_one_by_one, other, views(batch=8), chunk=4)
    assert not torch.allclose(grads["backbone.0.weight"], expected["backbone.0.weight"], rtol=1e-3)


def test_batch_norm_statistics_of_the_backbone_move_once_a_chunk():
    net = nn.Sequential(backbone(), nn.BatchNorm1d(8))
    module = SimCLR(net, hidden_dim=12, out_dim=6).double()
    by_hand = copy.deepcopy(net).double()
    images = torch.cat(views()["views"])
    for part in images.split(4):
        by_hand(part)
    loss_and_gradients(gradcache, module, views(), chunk=4)
    for name, value in by_hand.state_dict().items():
        torch.testing.assert_close(module.backbone.state_dict()[name], value, msg=name)


def peak_bytes(function) -> int:
    """Largest sum of live allocations, from the profiler's memory events."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        function()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    assert len(events) > 20
    live = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak


def test_peak_memory_is_that_of_a_chunk():
    batch = {"views": list(torch.randn(2, 32, 3, 24, 24).unbind())}
    module = SimCLR(backbone(), hidden_dim=8, out_dim=4)
    quarter = {"views": [view[:8] for view in batch["views"]]}
    whole = peak_bytes(lambda: loss_and_gradients(standard, module, batch))
    small = peak_bytes(lambda: loss_and_gradients(standard, module, quarter))
    cached = peak_bytes(lambda: loss_and_gradients(gradcache, module, batch, chunk=16))
    assert whole > 3.5 * small  # activations are what counts here
    assert cached < 1.4 * small
