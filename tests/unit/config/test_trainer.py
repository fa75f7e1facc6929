from __future__ import annotations

import pytest

from sslight import config
from sslight.config.reader import Reader
from sslight.config.trainer import OURS, read


def complaints(node) -> list[str]:
    reader = Reader()
    read(reader, "trainer", node)
    return [str(problem) for problem in reader.problems]


def test_lightning_s_keys_pass():
    node = {
        "max_epochs": 3,
        "precision": "bf16-mixed",
        "devices": 2,
        "accelerator": "cpu",
        "gradient_clip_val": 1,
        "limit_train_batches": 0.5,
        "max_time": "00:12:00:00",
        "deterministic": "warn",
        "sync_batchnorm": 4,
        "fast_dev_run": True,
        "profiler": "simple",
        "strategy": "auto",
        "logger": False,
    }
    assert complaints(node) == []
    assert config.trainer_arguments(node) == node


@pytest.mark.parametrize("name", sorted(OURS))
def test_sslight_s_own_keys_are_refused_with_the_way_out(name):
    (line,) = complaints({name: 1})
    assert line.startswith(f"trainer.{name}: is sslight's: ")


def test_ours_are_really_lightning_s():
    import inspect

    import pytorch_lightning as pl

    assert set(OURS) <= set(inspect.signature(pl.Trainer).parameters)


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ({"max_epoch": 3}, "trainer.max_epoch: unknown key. Did you mean 'max_epochs'?"),
        ({"max_epochs": "ten"}, "trainer.max_epochs: got 'ten'; expected an integer or null."),
        ({"precision": "bf16-mixd"}, "trainer.precision: got 'bf16-mixd'; expected 64, 32, 16,"),
        ({"accelerator": "gpuu"}, "trainer.accelerator: got 'gpuu'; expected one of"),
        (
            {"profiler": "simpel"},
            "trainer.profiler.name: unknown profiler 'simpel'. Did you mean 'simple'?",
        ),
        (
            {"logger": {"name": "CSVLoger"}},
            "trainer.logger.name: unknown logger 'CSVLoger'. Did you mean 'CSVLogger'?",
        ),
        ({"logger": {"save_dir": "x"}}, "trainer.logger.name: missing; it says which logger."),
        ({"strategy": "dpp"}, "trainer.strategy.name: unknown strategy 'dpp'. Did you mean 'ddp'?"),
        (
            {"strategy": "fsdp"},
            "trainer.strategy.name: fsdp is Lightning's FSDP 1. Write model_parallel",
        ),
        ({"strategy": {"name": "ddp", "bucket": 1}}, "trainer.strategy.bucket: unknown key."),
        (
            {"sync_batchnorm": "x"},
            "trainer.sync_batchnorm: got 'x'; expected true or false or an integer.",
        ),
    ],
)
def test_mistakes(node, expected):
    (line,) = complaints(node)
    assert line.startswith(expected)


def test_precision_suggests():
    (line,) = complaints({"precision": "bf16-mixd"})
    assert "Did you mean 'bf16-mixed'?" in line


def test_private_names_of_lightning_are_not_reachable():
    for name in ("Logger", "rank_zero_only", "os", "__name__"):
        assert "unknown logger" in complaints({"logger": {"name": name}})[0]


def test_choices_become_objects(tmp_path):
    from pytorch_lightning.loggers import CSVLogger
    from pytorch_lightning.strategies import DDPStrategy

    node = {
        "logger": [{"name": "CSVLogger", "save_dir": str(tmp_path)}],
        "strategy": {"name": "ddp", "bucket_cap_mb": 7},
    }
    made = config.trainer_arguments(node)
    assert isinstance(made["logger"][0], CSVLogger)
    assert isinstance(made["strategy"], DDPStrategy)
    assert made["strategy"]._ddp_kwargs["bucket_cap_mb"] == 7


def test_loggers_write_into_the_run_s_folder_unless_told(tmp_path):
    node = {"logger": ["CSVLogger", {"name": "CSVLogger", "save_dir": str(tmp_path / "other")}]}
    assert complaints(node) == []
    loggers = config.trainer_arguments(node, folder=tmp_path / "run")["logger"]
    assert [logger.root_dir.split("/")[-2] for logger in loggers] == ["run", "other"]


def test_a_checked_logger_is_as_it_was_written():
    reader = Reader()
    node = {"logger": "CSVLogger"}
    assert read(reader, "trainer", node)["logger"] == {"name": "CSVLogger"}
