"""Heads trained at once: gradients as autograd gives them, each head as if alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sslight.eval import _heads as h


def problem(n: int = 60, width: int = 6, multi: bool = False):
    draw = np.random.default_rng(0)
    x = draw.normal(size=(n, width)).astype(np.float32) * 3 + 1
    if multi:
        return x, torch.from_numpy(draw.integers(-1, 2, (n, 4)))
    return x, torch.from_numpy(draw.integers(0, 4, n))


def settings(lr, decay, epochs=3):
    return h.Settings(torch.tensor(lr), torch.tensor(decay), epochs, 16, 0)


@pytest.mark.parametrize("multi", [False, True])
def test_the_error_is_the_losses_derivative(multi):
    x, y = problem(multi=multi)
    heads = h._blank(x, y, np.arange(len(x)), 2, "cpu")
    heads.weight.normal_(generator=torch.Generator().manual_seed(0))
    logits = heads(x).requires_grad_()
    if multi:
        target = y.clamp(min=0)[:, None].expand_as(logits).float()
        each = torch.nn.functional.binary_cross_entropy_with_logits(
            logits, target, reduction="none"
        )
        loss = (each * (y >= 0)[:, None]).sum(0).sum(1).sum() / (len(x) * 4)
    else:
        losses = torch.nn.functional.cross_entropy(
            logits.transpose(1, 2), y[:, None].expand(-1, 2), reduction="none"
        )
        loss = losses.mean(0).sum()
    (expected,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(h._error(heads, heads.prepared(x), y), expected)


def test_a_step_is_torchs_sgd():
    """One head, several epochs, against torch's optimizer on torch's loss."""
    x, y = problem()
    heads = h.fit_heads(x, y, np.arange(len(x)), settings([0.5], [0.1]))
    layer = torch.nn.Linear(6, 4)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    groups = [{"params": [layer.weight], "weight_decay": 0.1}, {"params": [layer.bias]}]
    optimizer = torch.optim.SGD(groups, lr=0.5, momentum=0.9)
    draw, steps = np.random.default_rng(0), 4
    for step in range(3 * steps):
        if step % steps == 0:
            order = draw.permutation(np.arange(len(x)))
        part = np.sort(order[step % steps :: steps])
        for group in optimizer.param_groups:
            group["lr"] = 0.5 * (1 + np.cos(np.pi * step / (3 * steps))) / 2
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(layer(heads.prepared(x[part])), y[part]).backward()
        optimizer.step()
    torch.testing.assert_close(heads.weight[0], layer.weight.detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(heads.bias[0], layer.bias.detach(), rtol=1e-4, atol=1e-5)


def test_each_head_is_trained_as_if_alone():
    x, y = problem()
    rows = np.arange(0, len(x), 2)
    together = h.fit_heads(x, y, rows, settings([0.1, 1.0, 5.0], [0.0, 0.01, 0.1]))
    for g, (lr, decay) in enumerate([(0.1, 0.0), (1.0, 0.01), (5.0, 0.1)]):
        alone = h.fit_heads(x, y, rows, settings([lr], [decay]))
        torch.testing.assert_close(together.weight[g], alone.weight[0], rtol=1e-4, atol=1e-5)


def test_features_are_standardised_by_the_trained_rows_only():
    x, y = problem()
    rows = np.arange(20)
    heads = h._blank(x, y, rows, 1, "cpu")
    seen = heads.prepared(x[rows]) * np.sqrt(6)
    torch.testing.assert_close(seen.mean(0), torch.zeros(6), rtol=0, atol=1e-5)
    torch.testing.assert_close(seen.std(0, unbiased=False), torch.ones(6))
    x[:, 2] = 7.0  # a dead dimension stays finite
    assert h._blank(x, y, rows, 1, "cpu").prepared(x).isfinite().all()
