"""What fit says, what it leaves behind, and what it refuses in a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from sslight import run
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
    "trainer": {"max_epochs": 1, "accelerator": "cpu", "log_every_n_steps": 1},
}


def fit(folder: Path, *overrides: str, **options: Any) -> run.FitResult:
    return run.fit(CONFIG, [f"run_dir={folder}", *overrides], **options)


def test_the_end_says_what_came_out_where_it_is_and_what_is_next(tmp_path, caplog):
    fit(tmp_path / "a run")
    assert caplog.messages[0].startswith("Starting a run in")
    assert "lr 0.1 (not scaled" in caplog.messages[0]
    finished, folder, page, following, curves = caplog.messages[-5:]
    assert finished.startswith("Finished after step 2. train/loss ")
    assert folder.startswith(f"Run folder: {tmp_path / 'a run'} (")
    assert page == f"Report: {tmp_path / 'a run' / 'report.html'} (open it in a browser)"
    assert following == f"Next: sslight extract --config '{tmp_path / 'a run'}'"  # no labels
    assert curves.startswith("Curves: tensorboard --logdir ")


def test_a_run_that_is_extended_is_not_called_finished(tmp_path, caplog):
    fit(tmp_path)
    fit(tmp_path)
    assert "is finished (after step 2" in caplog.text
    fit(tmp_path, "trainer.max_epochs=2", accept=["trainer.max_epochs"])
    assert "goes on (after step 2" in caplog.text
    assert "Finished after step 4. " in caplog.text
    assert len(json.loads((tmp_path / "environment.json").read_text())["starts"]) == 3


def test_a_run_that_is_stopped_early_says_so(tmp_path, caplog):
    fit(tmp_path, "trainer.limit_train_batches=1")
    assert "Finished after step 1 of 2, as a limit or a callback asked." in caplog.text


def test_fast_dev_run_leaves_nothing(tmp_path, capsys):
    fit(tmp_path / "run", "trainer.fast_dev_run=true")
    assert "nothing was kept" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_an_accepted_change_of_the_network_is_refused_in_a_sentence(tmp_path):
    fit(tmp_path)
    before = (tmp_path / "config.yaml").read_text()
    with pytest.raises(RefusedRunError, match=r"does not fit the network .*\d+ diff") as caught:
        fit(tmp_path, "backbone.width=4", accept=["backbone.width"])
    assert len(str(caught.value)) < 700
    assert (tmp_path / "config.yaml").read_text() == before


def test_validation_without_training_uses_the_run_s_weights(tmp_path, caplog):
    fit(tmp_path)
    test = "data.test={name: fake, num_images: 4, size: 8}"
    result = fit(tmp_path, "data.train=null", test, accept=["data"])
    stored = torch.load(tmp_path / "checkpoints" / "step_000000002.ckpt", weights_only=True)
    for name, value in result.method.state_dict().items():
        assert torch.equal(value, stored["state_dict"][name]), name
    assert "Weights: " in caplog.text


def test_a_failure_is_in_the_log_with_its_traceback(tmp_path):
    with pytest.raises(ValueError, match="no negatives"):
        fit(tmp_path, "data.batch_size=1")
    log = (tmp_path / "log.txt").read_text()
    assert "ERROR Failed: nt_xent: one image has no negatives" in log
    assert "Traceback" in log


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.batch_size=100", "fewer than one batch of 100"),
        ("trainer.accumulate_grad_batches=0", "give a number from 1"),
        ("trainer.max_epochs=-1", "training has no end"),
        ("optim.warmup_epochs=10", "longer than the training"),
        ("trainer.max_time=abc", "not a valid duration"),
        ("trainer.devices=0", "devices=0"),
        ("method.temperature=0", "temperature must be above 0"),
        ("init=/no/such/file.pt", "there is no file"),
    ],
)
def test_mistakes_are_refused_before_training(tmp_path, override, message):
    with pytest.raises(RefusedRunError, match=message):
        fit(tmp_path, override)
    assert not (tmp_path / "checkpoints").exists()


def test_a_profile_and_a_csv_lie_in_the_run_s_folder(tmp_path):
    fit(tmp_path, "trainer.profiler=simple", "trainer.logger=CSVLogger")
    assert "run_training_epoch" in (tmp_path / "fit-profile.txt").read_text()
    assert list(tmp_path.glob("lightning_logs/version_0/metrics.csv"))


def test_a_length_in_steps_alone(tmp_path):
    fit(tmp_path, "trainer.max_steps=3", "trainer.max_epochs=null")
    assert json.loads((tmp_path / "finished.json").read_text())["step"] == 3
