from __future__ import annotations

import pytest
import torch

from sslight.losses.precision import full_precision, widened


@full_precision
def product(pair, *, scale=None):
    out = pair[0] @ pair[1]
    return out if scale is None else out * scale


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_low_precision_becomes_float32_inside_autocast(dtype):
    a = torch.randn(4, 4).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = product([a, a], scale=a)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, a.float() @ a.float() * a.float())


def test_double_stays_double():
    a = torch.randn(4, 4, dtype=torch.float64)
    assert product((a, a)).dtype == torch.float64


def test_integers_and_other_values_pass():
    label = torch.tensor([1, 2])
    assert widened([label, 3, "x"])[0] is label
    assert widened([label, 3, "x"])[1:] == [3, "x"]


def test_devices_without_autocast():
    a = torch.empty(4, 4, device="meta", dtype=torch.bfloat16)
    assert product([a, a]).dtype == torch.float32
