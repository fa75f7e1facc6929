from __future__ import annotations

import pytest

from sslight.callbacks.report import Report


@pytest.mark.parametrize(("every", "pages"), [(1, 4), (2, 2), (None, 1)])
def test_pages_after_due_epochs_and_at_the_end(kit, tmp_path, monkeypatch, every, pages):
    """Under a plain Trainer and a data module of the user's own."""
    written = []
    monkeypatch.setattr("sslight.callbacks.report.write_quietly", written.append)
    kit.trainer(tmp_path, Report(every), epochs=3).fit(kit.Method(), datamodule=kit.Data())
    assert len(written) == pages
    assert {run.folder for run in written} == {tmp_path}


def test_refuses():
    with pytest.raises(ValueError, match="every_n_epochs=0; give a number from 1"):
        Report(every_n_epochs=0)
