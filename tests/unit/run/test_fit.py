"""``sslight.fit`` from Python: objects beside the config, its folder, its refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger

import sslight
from sslight.config import ConfigError
from sslight.data.sources.shapes import Shapes
from sslight.resume import ResumeError

QUIET = {"accelerator": "cpu", "log_every_n_steps": 1}


def config(folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "run_dir": str(folder / "run"),
        "method": {"name": "simclr", "hidden_dim": 8, "out_dim": 4},
        "backbone": {"name": "resnet18", "stem": "small", "width": 4},
        "data": {
            "train": {"name": "shapes", "num_images": 16, "size": 16},
            "views": {"name": "simclr", "size": 16},
            "batch_size": 8,
            "workers": 0,
        },
        "trainer": {**QUIET, "max_epochs": 1},
        **more,
    }


class Counter(pl.Callback):
    """Counts training batches."""

    batches = 0

    def on_train_batch_end(self, *_: Any) -> None:
        self.batches += 1


def test_a_run_leaves_what_it_promises(tmp_path: Path) -> None:
    counter = Counter()
    result = sslight.fit(config(tmp_path), callbacks=[counter], logger=CSVLogger(tmp_path / "csv"))
    run = tmp_path / "run"
    assert counter.batches == 2
    assert result.run_dir == run
    assert "train/loss" in result.metrics
    for name in ("config.yaml", "metrics.jsonl", "log.txt", "backbone.safetensors"):
        assert (run / name).stat().st_size > 0, name
    assert len(list((run / "checkpoints").glob("*.ckpt"))) == 1
    assert list((tmp_path / "csv").rglob("metrics.csv"))
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "train/loss" in row] == [1, 2]


def test_objects_take_the_place_of_sections(tmp_path: Path) -> None:
    backbone = sslight.backbone("resnet18", stem="small", width=4)
    method = sslight.SimCLR(backbone, sslight.Recipe(lr=0.1), hidden_dim=8, out_dim=4)
    data = sslight.SSLDataModule(Shapes(16, size=16), views="simclr", batch_size=8, workers=0)
    given = {"run_dir": str(tmp_path / "run"), "trainer": {**QUIET, "max_epochs": 1}}
    result = sslight.fit(given, method=method, data=data)
    assert result.method is method
    assert result.data is data
    loaded = sslight.load_backbone(tmp_path / "run")
    images = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    assert loaded.embed(images).shape == (2, 32)


def test_a_method_comes_back_from_its_run(tmp_path: Path) -> None:
    result = sslight.fit(config(tmp_path))
    method = sslight.load_method(tmp_path / "run")
    for name, value in result.method.state_dict().items():
        assert torch.equal(value, method.state_dict()[name]), name


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    sslight.fit(config(tmp_path))
    counter = Counter()
    sslight.fit(config(tmp_path), callbacks=[counter])
    assert counter.batches == 0


def test_a_changed_config_is_refused_and_can_be_accepted(tmp_path: Path) -> None:
    sslight.fit(config(tmp_path))
    longer = config(tmp_path, trainer={**QUIET, "max_epochs": 2})
    with pytest.raises(ResumeError, match=r"(?s)max_epochs.*--accept trainer.max_epochs"):
        sslight.fit(longer)
    counter = Counter()
    sslight.fit(longer, callbacks=[counter], accept=["trainer.max_epochs"])
    assert counter.batches == 2
    assert list((tmp_path / "run").glob("config.until_step_2.yaml"))


def test_problems_come_all_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    wrong = config(tmp_path, seed="x", optim={"lr": "fast"})
    with pytest.raises(ConfigError) as caught:
        sslight.fit(wrong)
    assert {problem.key for problem in caught.value.problems} == {"seed", "optim.lr"}
    assert not (tmp_path / "run").exists()


def test_too_small_data_names_the_key(tmp_path: Path) -> None:
    small = config(tmp_path)
    small["data"]["batch_size"] = 64
    with pytest.raises(ValueError, match=r"16 images.*data.batch_size"):
        sslight.fit(small)


def test_without_train_it_validates_once(tmp_path: Path) -> None:
    node = config(tmp_path, method={"name": "supervised", "num_classes": 10})
    node["data"]["test"] = node["data"].pop("train")
    result = sslight.fit(node)
    assert "val/top1" in result.metrics
