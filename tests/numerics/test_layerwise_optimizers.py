"""LARS and LARC against loops in float64, written from the equations in plain numbers."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sslight.optim import LARC, LARS

SHAPES = [(4, 3), (5,), (2, 3, 2, 2), (), (3, 1)]


def start(seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    weights = [rng.standard_normal(shape) for shape in SHAPES]
    weights[4][:] = 0.0  # a weight of norm zero
    return weights


def gradients(step: int) -> list[np.ndarray]:
    rng = np.random.default_rng(100 + step)
    grads = [rng.standard_normal(shape) for shape in SHAPES]
    if step == 1:
        grads[0][:] = 0.0  # a gradient of norm zero
    return grads


def norm(x: np.ndarray) -> float:
    return float(np.sqrt((x**2).sum()))


def lars_loop(steps: int, *, lr, momentum, wd, eta, exclude_1d=True) -> list[np.ndarray]:
    weights = start()
    buffers = [np.zeros_like(w) for w in weights]
    for step in range(steps):
        for w, m, g in zip(weights, buffers, gradients(step), strict=True):
            q = 1.0
            if w.ndim > 1 or not exclude_1d:
                g = g + wd * w
                if norm(w) > 0 and norm(g) > 0:
                    q = eta * norm(w) / norm(g)
            m[...] = momentum * m + q * g
            w[...] = w - lr(step) * m
    return weights


def larc_loop(
    steps: int, *, lr, momentum, wd, trust, clip=False, nesterov=False, eps=1e-8, exclude_1d=False
) -> list[np.ndarray]:
    weights = start()
    buffers = [np.zeros_like(w) for w in weights]
    for step in range(steps):
        for w, m, g in zip(weights, buffers, gradients(step), strict=True):
            if exclude_1d and w.ndim <= 1:
                g = g + wd * w
            elif norm(w) > 0 and norm(g) > 0:
                rate = trust * norm(w) / (norm(g) + wd * norm(w) + eps)
                if clip:
                    rate = min(rate / lr(step), 1.0)
                g = rate * (g + wd * w)
            m[...] = momentum * m + g
            w[...] = w - lr(step) * (g + momentum * m if nesterov else m)
    return weights


def run(make, steps: int, lr, dtype=torch.float64) -> list[torch.Tensor]:
    params = [torch.nn.Parameter(torch.tensor(w, dtype=dtype)) for w in start()]
    optimizer = make(params)
    for step in range(steps):
        for p, g in zip(params, gradients(step), strict=True):
            p.grad = torch.tensor(g, dtype=dtype)
        optimizer.param_groups[0]["lr"] = lr(step)
        optimizer.step()
    return params


def assert_equal(params: list[torch.Tensor], weights: list[np.ndarray]) -> None:
    for p, w in zip(params, weights, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), w, rtol=1e-12, atol=1e-14)


def falling(step: int) -> float:
    return 0.5 / (1 + step)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("wd", [0.0, 0.1])
@pytest.mark.parametrize("exclude_1d", [True, False])
def test_lars(momentum, wd, exclude_1d):
    options = {"momentum": momentum, "eta": 0.02, "exclude_1d": exclude_1d}
    params = run(lambda p: LARS(p, weight_decay=wd, **options), 5, falling)
    assert_equal(params, lars_loop(5, lr=falling, wd=wd, **options))


def test_the_oracle_bites():
    """The paper's other denominator, and decay of 1-d tensors, are visibly other optimizers."""
    right = lars_loop(5, lr=falling, momentum=0.9, wd=0.1, eta=0.02)
    for wrong in (
        lars_loop(5, lr=falling, momentum=0.9, wd=0.1, eta=0.02, exclude_1d=False),
        larc_loop(5, lr=falling, momentum=0.9, wd=0.1, trust=0.02),
        larc_loop(5, lr=falling, momentum=0.9, wd=0.1, trust=0.02, exclude_1d=True),
    ):
        assert max(np.abs(a - b).max() for a, b in zip(right, wrong, strict=True)) > 1e-4


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("wd", [0.0, 0.1])
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
@pytest.mark.parametrize("exclude_1d", [True, False])
def test_larc(clip, wd, momentum, nesterov, exclude_1d):
    options = {"momentum": momentum, "trust": 0.02, "clip": clip, "nesterov": nesterov}
    options["exclude_1d"] = exclude_1d
    params = run(lambda p: LARC(p, weight_decay=wd, **options), 5, falling)
    assert_equal(params, larc_loop(5, lr=falling, wd=wd, **options))


def test_larc_is_torch_sgd_on_rescaled_gradients():
    params = [torch.nn.Parameter(torch.tensor(w)) for w in start()]
    sgd = torch.optim.SGD(params, lr=0.5, momentum=0.9, nesterov=True)
    for step in range(4):
        for p, g in zip(params, gradients(step), strict=True):
            g = torch.tensor(g)
            if g.norm() > 0 and p.norm() > 0:
                rate = 0.001 * p.norm() / (g.norm() + 0.1 * p.norm() + 1e-8)
                g = (g + 0.1 * p.detach()) * rate.detach()
            p.grad = g.detach().clone()
        sgd.step()
    ours = run(
        lambda p: LARC(p, momentum=0.9, weight_decay=0.1, nesterov=True), 4, lambda step: 0.5
    )
    for a, b in zip(ours, params, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_clip_with_a_learning_rate_of_zero_moves_nothing():
    params = run(lambda p: LARC(p, clip=True), 3, lambda step: 0.0)
    assert_equal(params, start())


@pytest.mark.parametrize("optimizer", [LARS, LARC])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision_follows(optimizer, dtype):
    low = run(lambda p: optimizer(p, weight_decay=0.1), 3, falling, dtype)
    high = run(lambda p: optimizer(p, weight_decay=0.1), 3, falling)
    tolerance = 1e-6 if dtype == torch.float32 else 5e-2
    for a, b in zip(low, high, strict=True):
        assert a.dtype == dtype
        torch.testing.assert_close(a.double(), b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("optimizer", [LARS, LARC])
def test_parameters_without_gradient_stay_and_dtypes_may_mix(optimizer):
    a = torch.nn.Parameter(torch.ones(2, 2))
    b = torch.nn.Parameter(torch.ones(2, 2, dtype=torch.float64))
    idle = torch.nn.Parameter(torch.ones(2, 2))
    a.grad, b.grad = torch.ones_like(a), torch.ones_like(b)
    made = optimizer([a, b, idle], lr=0.1, weight_decay=0.1)
    made.step()
    assert torch.equal(idle, torch.ones(2, 2))
    assert idle not in made.state
    torch.testing.assert_close(a.double(), b)
    assert (a < 1).all()


@pytest.mark.parametrize("optimizer", [LARS, LARC])
def test_gradients_are_left_as_they_were(optimizer):
    p = torch.nn.Parameter(torch.ones(2, 2))
    p.grad = torch.full((2, 2), 3.0)
    optimizer([p], lr=0.1, weight_decay=0.1).step()
    assert torch.equal(p.grad, torch.full((2, 2), 3.0))


@pytest.mark.parametrize("optimizer", [LARS, LARC])
def test_state_round_trip_is_exact_and_weights_only(optimizer):
    def steps(params, made, which):
        for step in which:
            for p, g in zip(params, gradients(step), strict=True):
                p.grad = torch.tensor(g)
            made.step()

    straight = [torch.nn.Parameter(torch.tensor(w)) for w in start()]
    steps(straight, optimizer(straight, lr=0.1, weight_decay=0.1), range(4))
    params = [torch.nn.Parameter(torch.tensor(w)) for w in start()]
    made = optimizer(params, lr=0.1, weight_decay=0.1)
    steps(params, made, range(2))
    file = io.BytesIO()
    torch.save(made.state_dict(), file)
    file.seek(0)
    resumed = optimizer(params, lr=9.0)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    steps(params, resumed, range(2, 4))
    assert all(torch.equal(a, b) for a, b in zip(straight, params, strict=True))


@pytest.mark.parametrize("optimizer", [LARS, LARC])
def test_a_closure_is_run_with_gradients(optimizer):
    p = torch.nn.Parameter(torch.ones(2, 2))
    made = optimizer([p], lr=0.1)

    def closure() -> torch.Tensor:
        loss = p.square().sum()
        loss.backward()
        return loss

    assert made.step(closure).item() == 4.0
    assert (p < 1).all()


class HostReads(TorchDispatchMode):
    """Counts the reads of a tensor's value by the host."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("clip", [False, True])
def test_no_step_reads_a_value_on_the_host(clip):
    with HostReads() as reads:
        run(lambda p: LARS(p, weight_decay=0.1), 3, falling)
        run(lambda p: LARC(p, weight_decay=0.1, clip=clip), 3, falling)
    assert reads.count == 0
    with HostReads() as reads:
        torch.ones(()).item()
    assert reads.count == 1


@pytest.mark.parametrize("optimizer", [LARS, LARC])
def test_refusals(optimizer):
    p = torch.nn.Parameter(torch.ones(2, 2))
    with pytest.raises(ValueError, match=f"{optimizer.__name__}: lr must not be negative, got -1"):
        optimizer([p], lr=-1.0)
    p.grad = torch.eye(2).to_sparse()
    with pytest.raises(TypeError, match="dense gradients"):
        optimizer([p], lr=0.1).step()
