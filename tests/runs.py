"""Compare runs: every tensor of the last checkpoint, every metric row but the times."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

#: What may differ between a killed and a straight run, and says so in its name.
FREE_PREFIX = "time/"


def last_checkpoint(run: Path) -> dict[str, Any]:
    files = sorted((run / "checkpoints").glob("step_*.ckpt"))
    assert files, f"no checkpoint in {run}"
    return torch.load(files[-1], weights_only=True)


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        items = [(str(k), v) for k, v in value.items()]
    elif isinstance(value, (list, tuple)):
        items = [(str(i), v) for i, v in enumerate(value)]
    else:
        return {prefix: value}
    return {k: v for name, entry in items for k, v in flat(entry, f"{prefix}/{name}").items()}


def assert_same_state(left: Path, right: Path) -> None:
    a, b = flat(last_checkpoint(left)), flat(last_checkpoint(right))
    ignored = ("/sslight", "/callbacks/Throughput", "/callbacks/Progress")
    a, b = ({k: v for k, v in x.items() if not k.startswith(ignored)} for x in (a, b))
    assert a.keys() == b.keys()
    for key, value in a.items():
        same = torch.equal(value, b[key]) if torch.is_tensor(value) else value == b[key]
        assert same, f"{key} differs: {value} and {b[key]}"
    assert any(torch.is_tensor(v) and v.is_floating_point() for v in a.values())


def metric_rows(run: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    kept = [{k: v for k, v in row.items() if not k.startswith(FREE_PREFIX)} for row in rows]
    return [row for row in kept if set(row) - {"step", "epoch"}]


def assert_same_metrics(left: Path, right: Path) -> None:
    a, b = metric_rows(left), metric_rows(right)
    assert a, "no metrics were written"
    assert a == b


def assert_same_run(left: Path, right: Path) -> None:
    assert_same_state(left, right)
    assert_same_metrics(left, right)
