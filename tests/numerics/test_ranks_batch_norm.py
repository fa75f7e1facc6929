"""SyncBatchNorm on ranks equals torch's batch norm on the whole batch."""

from __future__ import annotations

import pytest
import torch
from ranks import run_ranks
from torch import nn

from sslight import distributed as d

pytestmark = pytest.mark.ranks

#: name -> (rows of each rank, options of the norm)
CASES = {
    "even": ([3, 3, 3, 3], {}),
    "uneven": ([1, 5, 2, 4], {}),
    "empty rank": ([0, 6, 5, 1], {}),
    "cumulative": ([2, 4, 3, 3], {"momentum": None}),
    "no affine": ([3, 3, 3, 3], {"affine": False}),
    "no statistics": ([3, 3, 3, 3], {"track_running_stats": False}),
    "groups of 2": ([2, 4, 3, 3], {"group_size": 2}),
    "groups of 1": ([2, 4, 3, 3], {"group_size": 1}),
    "large group": ([3, 3, 3, 3], {"group_size": 8}),
}


def batches(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(12, 4, 3, 3, generator=generator, dtype=torch.float64) * 3 + 100
    return x, torch.randn(12, 4, 3, 3, generator=generator, dtype=torch.float64)


def two_steps(norm: nn.Module, rows: slice) -> dict[str, torch.Tensor]:
    """Train for two steps on a summed loss; outputs, gradients and buffers."""
    with torch.no_grad():
        for i, parameter in enumerate(norm.parameters()):
            parameter.copy_(torch.arange(1.0, 5.0) + i)
    result = {}
    for step in range(2):
        x, target = (part[rows].clone() for part in batches(step))
        x.requires_grad_()
        out = norm(x)
        inputs = [x, *norm.parameters()]
        grads = torch.autograd.grad((out * target).square().sum(), inputs)
        result[f"out {step}"], result[f"input gradient {step}"] = out.detach(), grads[0]
        for i, grad in enumerate(grads[1:]):
            result[f"parameter {i} gradient {step}"] = grad
    result.update({f"buffer {name}": value for name, value in norm.named_buffers()})
    return result


def rows_of(rank: int, sizes: list[int]) -> slice:
    start = sum(sizes[:rank])
    return slice(start, start + sizes[rank])


def on_rank():
    results = {}
    for name, (sizes, options) in CASES.items():
        norm = d.SyncBatchNorm(4, dtype=torch.float64, **options)
        results[name] = two_steps(norm, rows_of(d.rank(), sizes))
    return results, low_precision(), refused(), mutant()


def low_precision():
    rows = rows_of(d.rank(), [3] * 4)
    results = {}
    for dtype in (torch.bfloat16, torch.float16):
        norm = d.SyncBatchNorm(4)
        x = (batches(0)[0][rows] - 100).to(dtype).requires_grad_()
        out = norm(x)
        (grad,) = torch.autograd.grad(out.float().pow(3).sum(), x)
        results[dtype] = out.detach(), grad, norm.running_var
    return results


def refused():
    with pytest.raises(ValueError, match="4 ranks cannot form groups of 3"):
        d.convert_sync_batchnorm(nn.BatchNorm1d(2), group_size=3)
    norm = d.SyncBatchNorm(4).eval()
    return norm(torch.randn(d.rank() + 1, 4)).shape  # no collective in eval mode: uneven is fine


def mutant():
    return two_steps(nn.BatchNorm2d(4, dtype=torch.float64), rows_of(d.rank(), [3] * 4))


@pytest.fixture(scope="module")
def results():
    return run_ranks(4, on_rank)


def groups(options: dict) -> list[list[int]]:
    size = min(options.get("group_size", 4), 4)
    return [list(range(start, start + size)) for start in range(0, 4, size)]


@pytest.mark.parametrize("case", CASES)
def test_equal_to_the_whole_batch(results, case):
    sizes, options = CASES[case]
    options = {key: value for key, value in options.items() if key != "group_size"}
    for members in groups(CASES[case][1]):
        start = sum(sizes[: members[0]])
        rows = slice(start, start + sum(sizes[r] for r in members))
        whole = two_steps(nn.BatchNorm2d(4, dtype=torch.float64, **options), rows)
        parts = [results[r][0][case] for r in members]
        for name, expected in whole.items():
            values = [part[name] for part in parts]
            if "parameter" in name:
                torch.testing.assert_close(sum(values), expected, rtol=1e-11, atol=1e-9)
            elif "buffer" in name:
                for value in values:
                    torch.testing.assert_close(value, expected, rtol=1e-13, atol=1e-13)
            else:
                torch.testing.assert_close(torch.cat(values), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_is_computed_in_float32(results, dtype):
    x = (batches(0)[0] - 100).to(dtype).float().requires_grad_()
    norm = nn.BatchNorm2d(4)
    out = norm(x)
    (grad,) = torch.autograd.grad(out.pow(3).sum(), x)
    mine = [result[1][dtype] for result in results]
    assert mine[0][0].dtype == dtype
    tolerance = {"rtol": 2e-2, "atol": 2e-2}
    torch.testing.assert_close(torch.cat([m[0] for m in mine]).float(), out.detach(), **tolerance)
    assert (torch.cat([m[1] for m in mine]).float() - grad).norm() < 0.03 * grad.norm()
    torch.testing.assert_close(mine[0][2], norm.running_var, rtol=1e-5, atol=1e-5)


def test_eval_mode_needs_no_other_rank(results):
    assert [tuple(result[2]) for result in results] == [(r + 1, 4) for r in range(4)]


def test_a_plain_batch_norm_would_be_noticed(results):
    whole = two_steps(nn.BatchNorm2d(4, dtype=torch.float64), slice(None))
    parts = torch.cat([result[3]["out 0"] for result in results])
    assert not torch.allclose(parts, whole["out 0"], rtol=1e-3)
