"""The helper that runs tests on several ranks must itself report failures and hangs."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from ranks import run_ranks

pytestmark = pytest.mark.ranks


def add_ranks(start):
    total = torch.tensor(start + dist.get_rank())
    dist.all_reduce(total)
    return int(total), dist.get_rank()


def fail_on_rank_1():
    if dist.get_rank() == 1:
        raise KeyError("only here")


def hang_on_rank_1():
    import time

    if dist.get_rank() == 1:
        time.sleep(60)


def test_results_come_back_by_rank():
    assert run_ranks(2, add_ranks, 10) == [(21, 0), (21, 1)]


def test_a_failing_rank_is_named_with_its_traceback():
    with pytest.raises(AssertionError, match=r"(?s)rank 1:.*KeyError: 'only here'"):
        run_ranks(2, fail_on_rank_1)


def test_a_hanging_rank_is_killed():
    with pytest.raises(TimeoutError, match="did not finish"):
        run_ranks(2, hang_on_rank_1, timeout=3)
