from __future__ import annotations

import pytest

from sslight.reports import GapError
from sslight.reports.settings import differences, settings


def test_written_and_resolved_without_secrets(tmp_path, monkeypatch):
    monkeypatch.setenv("HUB_TOKEN", "hunter2")
    (tmp_path / "config.yaml").write_text(
        "data: {batch_size: 64, test: {root: 'https://a:b@c.org', header: '${oc.env:HUB_TOKEN}'}}\n"
        "optim: {lr: 0.1, warmup: '${data.batch_size}'}\n"
    )
    found = settings(tmp_path)
    assert "${data.batch_size}" in found["written"]
    assert "warmup: '64'" in found["resolved"] or "warmup: 64" in found["resolved"]
    assert "${oc.env:HUB_TOKEN}" in found["written"]
    for text in (found["written"], found["resolved"], str(found["flat"])):
        assert "hunter2" not in text
        assert "a:b@" not in text
    assert not found["same"]


def test_only_differences_are_kept():
    a = {"optim.lr": "0.1", "seed": "0", "run_dir": "a"}
    b = {"optim.lr": "0.2", "seed": "0", "run_dir": "b", "new": "1"}
    assert differences([a, b]) == [("new", ["–", "1"]), ("optim.lr", ["0.1", "0.2"])]


def test_gaps(tmp_path):
    with pytest.raises(GapError, match="no config"):
        settings(tmp_path)
    (tmp_path / "config.yaml").write_text("a: [1\n")
    with pytest.raises(GapError, match="cannot be read"):
        settings(tmp_path)
