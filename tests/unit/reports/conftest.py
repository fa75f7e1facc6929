from __future__ import annotations

from pathlib import Path

import pytest

from sslight import run

CONFIG = {
    "method": {"name": "simclr", "hidden_dim": 8, "out_dim": 4},
    "backbone": {"name": "resnet18", "stem": "small", "width": 2},
    "data": {
        "train": {"name": "shapes", "num_images": 64, "size": 16},
        "test": {"name": "shapes", "num_images": 40, "size": 16},
        "views": {"name": "simclr", "size": 16},
        "batch_size": 16,
        "workers": 0,
    },
    "optim": {"lr": 0.1},
    "trainer": {"max_epochs": 1, "accelerator": "cpu", "log_every_n_steps": 1},
    "callbacks": {"throughput": {}, "collapse": {}, "view_grid": {"images": 4}},
    "eval": {"knn": {"k": [1, 5]}},
}


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run with features and an evaluation. Tests do not change it."""
    folder = tmp_path_factory.mktemp("finished") / "shapes"
    run.fit(CONFIG, [f"run_dir={folder}"])
    run.evaluate(folder)
    return folder


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A run that has only begun: a config and nothing else."""
    folder = tmp_path / "begun"
    folder.mkdir()
    (folder / "config.yaml").write_text("method: {name: simclr}\nbackbone: {name: resnet18}\n")
    return folder
