"""Memory kept between steps: counted in page faults, not timed, in a process with a fresh heap."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from sslight.heap import keep_freed_memory

try:
    GLIBC = (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
except (AttributeError, ValueError):
    GLIBC = False

pytestmark = pytest.mark.skipif(not GLIBC, reason="needs glibc")

COUNT = """
import json, resource, sys
import torch
from sslight.heap import keep_freed_memory

def faults():
    def step():
        torch.zeros(1 << 24).add_(1.0)
    for _ in range(12):  # glibc before 2.38 leaves gaps behind aligned blocks at first
        step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

found = {"before": faults(), "resident before": resident()}
try:
    with keep_freed_memory(sys.argv[1]):
        with keep_freed_memory(torch.device(sys.argv[1])):
            pass
        found |= {"inside": faults(), "resident inside": resident()}
        raise KeyError
except KeyError:
    found |= {"after": faults(), "resident after": resident()}
print(json.dumps(found))
"""


def counted(device: str = "cpu", **variables: str) -> dict[str, int]:
    usual = {k: v for k, v in os.environ.items() if not k.startswith(("GLIBC_", "MALLOC_"))}
    words = [sys.executable, "-c", COUNT, device]
    done = subprocess.run(words, env=usual | variables, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_pages_are_used_again_inside_and_given_back_after_an_error_too():
    found = counted()
    assert found["before"] > 4 * 32  # 64 MB in pages of 2 MB at least
    assert found["inside"] < found["before"] / 10
    assert found["resident inside"] > found["resident before"] + (60 << 20)
    assert found["resident after"] < found["resident inside"] - (60 << 20)


@pytest.mark.parametrize(
    ("device", "variables"),
    [("cuda", {}), ("cpu", {"MALLOC_TRIM_THRESHOLD_": "131072"})],
    ids=["another device", "set by the user"],
)
def test_it_leaves_alone_other_devices_and_what_the_user_has_set(device, variables):
    found = counted(device, **variables)
    assert found["inside"] > found["before"] / 2


def test_without_glibc_nothing_happens(monkeypatch):
    monkeypatch.setattr(os, "confstr", lambda name: None)
    monkeypatch.setattr("ctypes.CDLL", None)
    with keep_freed_memory("cpu"):
        pass
