from __future__ import annotations

import pytest
from runs import assert_same_run

import sslight
from sslight.errors import RefusedRunError

CONFIG = {
    "method": {"name": "simclr", "hidden_dim": 8, "out_dim": 4},
    "backbone": {"name": "resnet18", "stem": "small", "width": 2},
    "data": {
        "train": {"name": "fake", "num_images": 8, "size": 8},
        "views": {"name": "simclr", "size": 8},
        "batch_size": 4,
        "workers": 0,
    },
    "optim": {"lr": 0.1},
    "trainer": {"max_epochs": 2, "accelerator": "cpu", "log_every_n_steps": 1},
}


def fit(folder, *overrides):
    return sslight.fit(CONFIG, [f"run_dir={folder}", *overrides])


def test_fit_leaves_a_report_and_what_it_was_made_with(tmp_path):
    result = fit(tmp_path / "run")
    text = (tmp_path / "run" / "report.html").read_text()
    assert "simclr on resnet18" in text
    assert "8 images" in text or ">8<" in text
    written = sslight.report(result, tmp_path / "again.html")
    assert written.path.is_file()
    assert str(written.path) in str(written)
    assert "WrittenReport(" in repr(written)
    assert any("sslight extract" in gap for gap in written.gaps["run"])


def test_it_can_be_switched_off(tmp_path, caplog):
    fit(tmp_path, "callbacks.report=null")
    assert not (tmp_path / "report.html").exists()
    assert "Report: " not in caplog.text


def test_training_is_the_same_with_a_report_every_epoch(tmp_path):
    fit(tmp_path / "plain", "callbacks.report=null")
    fit(tmp_path / "watched", "callbacks.report.every_n_epochs=1")
    assert_same_run(tmp_path / "plain", tmp_path / "watched")


def test_a_broken_report_does_not_break_the_fit(tmp_path, monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("no page today")

    monkeypatch.setattr("sslight.reports.write.page", broken)
    fit(tmp_path, "callbacks.report.every_n_epochs=1")
    assert (tmp_path / "finished.json").exists()
    assert "The report could not be written (RuntimeError: no page today)" in caplog.text
    assert "Report: " not in caplog.text


def test_images_that_are_gone_leave_a_page(tmp_path):
    (tmp_path / "config.yaml").write_text(
        "method: simclr\nbackbone: resnet18\ndata: {test: {name: folder, root: /no/such/folder}}\n"
    )
    written = sslight.report(str(tmp_path))
    assert written.path == tmp_path / "report.html"
    assert any("images cannot be opened here" in gap for gap in written.gaps[tmp_path.name])


def test_what_cannot_be_a_run(tmp_path):
    for wrong in ([], [3], tmp_path / "absent", tmp_path):
        with pytest.raises(RefusedRunError, match="report: "):
            sslight.report(wrong)
