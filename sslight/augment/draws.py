"""Random numbers without a generator: every draw is a function of where it is used.

A draw is addressed by ``(seed, epoch, sample index, view, slot)``. The address is mixed by the
finaliser of SplitMix64 (Steele, Lea & Flood, 2014), so there is no state to save, to restore or to
share: any subset of samples, in any order, in any process, gets the numbers the whole would get.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sslight.modules.upload import uploaded

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB


def seed_of(*numbers: int) -> int:
    """Mix integers, in order, into one 63-bit seed.

    Use it to seed a generator, or to give draws that must not repeat those of another purpose a
    seed of their own: ``uniforms(seed_of(seed, 7), ...)``.
    """
    return _mix_numbers(*numbers) >> 1


def uniforms(
    seed: int, epoch: Tensor | int, index: Tensor, view: int | Sequence[int], n: int
) -> Tensor:
    """Draw ``n`` numbers in [0, 1) for each sample.

    Args:
        seed: The run's seed.
        epoch: One epoch for all samples, or ``[B]``.
        index: Dataset index of each sample, ``[B]``.
        view: Which view of the sample; one for all, or one each.
        n: Number of draws. A larger ``n`` adds columns and leaves the first ones as they are.

    Returns:
        ``[B, n]`` float64 with 53 random bits, on the device of ``index``.
    """
    index = index.to(torch.int64)
    if isinstance(epoch, Tensor):
        epoch = epoch.to(index.device, torch.int64)
    else:  # not by as_tensor: a GPU would be waited for, and torch.compile would fix the number
        epoch = torch.full((), epoch, dtype=torch.int64, device=index.device)
    key: Tensor | int
    if isinstance(view, int):
        key = _signed(_mix_numbers(seed, view))
    else:
        keys = [_signed(_mix_numbers(seed, number)) for number in view]
        key = uploaded(torch.tensor(keys), index.device)
    state = _mix(_mix(epoch * _signed(_GOLDEN) + key) + index)
    slots = torch.arange(1, n + 1, dtype=torch.int64, device=index.device) * _signed(_GOLDEN)
    bits = _mix(state.unsqueeze(-1) + slots)
    return _shift_right(bits, 11).to(torch.float64).mul_(2.0**-53)


def normals(seed: int, epoch: Tensor | int, index: Tensor, view: int, n: int) -> Tensor:
    """Draw ``n`` standard normal numbers for each sample, ``[B, n]`` float64 (Box-Muller).

    The arguments are those of :func:`uniforms`; draw ``k`` uses the uniform draws 2k and 2k + 1.
    """
    pairs = uniforms(seed, epoch, index, view, 2 * n)
    radius = torch.log1p(-pairs[:, 0::2]).mul_(-2.0).sqrt_()
    return radius * torch.cos(pairs[:, 1::2] * (2.0 * math.pi))


def _mix_numbers(*numbers: int) -> int:
    state = 0
    for number in numbers:
        state = _mix_number((state + _GOLDEN + (number & _MASK)) & _MASK)
    return state


def _mix_number(z: int) -> int:
    z = ((z ^ (z >> 30)) * _MIX_1) & _MASK
    z = ((z ^ (z >> 27)) * _MIX_2) & _MASK
    return z ^ (z >> 31)


def _mix(z: Tensor) -> Tensor:
    """Mix int64 tensors as ``_mix_number`` mixes one number (products wrap around)."""
    z = (z ^ _shift_right(z, 30)) * _signed(_MIX_1)
    z = (z ^ _shift_right(z, 27)) * _signed(_MIX_2)
    return z ^ _shift_right(z, 31)


def _shift_right(z: Tensor, bits: int) -> Tensor:
    """Shift without carrying the sign: torch has no 64-bit unsigned arithmetic."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def _signed(number: int) -> int:
    """Read 64 bits as the signed number torch wants."""
    return number - (1 << 64) if number >> 63 else number
