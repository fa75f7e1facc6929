"""95 % intervals: of a share of images, and of a mean over draws or queries."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

_Z = 1.959964  # 97.5 % of a normal distribution lie below
#: The same of Student's t with 1, 2, ... 10 degrees of freedom.
_T = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)


def interval(share: float, n: int, z: float = _Z) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of ``n`` independent images."""
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean of independent values, and Student's 95 % interval of it (NaN for a single value)."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, math.nan, math.nan
    half = student(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def student(freedom: int) -> float:
    """The 97.5 % point of Student's t: a table, then its expansion in 1 / freedom."""
    if freedom <= len(_T):
        return _T[freedom - 1]
    z, v = _Z, freedom
    first = (z**3 + z) / (4 * v)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    return z + first + second + third
