"""What fit, extract and evaluate return can be given to each other, and says what it is."""

from __future__ import annotations

import os

import pytest
from torch import nn

import sslight
from sslight import SSLDataModule, ViewSpec
from sslight.data.sources.fake import Fake

TINY = {
    "method": {"name": "simclr", "hidden_dim": 8, "out_dim": 4},
    "backbone": {"name": "resnet10", "width": 2, "stem": "stride2"},
    "data": {
        "train": {"name": "shapes", "num_images": 16, "size": 16},
        "test": {"name": "shapes", "num_images": 8, "size": 16},
        "views": {"name": "simclr", "size": 16},
        "batch_size": 8,
        "workers": 0,
    },
    "trainer": {"max_epochs": 1, "accelerator": "cpu", "log_every_n_steps": 1, "logger": False},
}


@pytest.mark.filterwarnings("ignore")
def test_from_fit_to_accuracy_by_objects(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained = sslight.fit({**TINY, "run_dir": "mine"})
    assert os.fspath(trained) == "mine"
    assert repr(trained).startswith("FitResult(SimCLR in mine, after step 2: train/loss ")

    store = sslight.extract(trained)
    assert os.fspath(store) == "mine/features"
    assert "train 16, test 8" in repr(store)
    assert sslight.load_features(trained)["test"].array().shape == (8, 16)
    assert sslight.load_features(store).root == store.root

    for subject in (trained, store, "mine"):
        results = sslight.evaluate(subject, ["knn"])
        assert repr(results).startswith("Results([Result(knn, 8 images: ")
        assert set(results.metrics)

    backbone = sslight.load_backbone(trained)
    assert repr(backbone) == "LoadedBackbone(resnet10 from mine: images of 16 px to 16 numbers)"
    assert sslight.load_backbone(trained.method).embed_dim == 16
    assert type(sslight.load_method(trained)) is sslight.SimCLR
    assert repr(trained.data) == "SSLDataModule(train, test; 8 a batch)"


@pytest.mark.filterwarnings("ignore")
def test_a_network_and_data_of_one_s_own_need_no_config(tmp_path):
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    data = SSLDataModule(
        Fake(12, size=8, num_classes=2),
        Fake(6, size=8, num_classes=2),
        views=[ViewSpec(size=8)],
        batch_size=4,
        workers=0,
    )
    config = {"run_dir": str(tmp_path / "own")}
    store = sslight.extract(config, backbone=network, data=data)
    assert store["train"].array().shape == (12, 5)
    results = sslight.evaluate(config, ["knn"], backbone=network, data=data)
    assert [result.n for result in results] == [6]
