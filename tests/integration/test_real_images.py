"""Fit, extract and evaluate on real JPEGs: a folder of small ones, a folder of large odd ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from cli_server import CliServer

import sslight

CONFIG = """
method: {{name: simclr, hidden_dim: 32, out_dim: 16}}
backbone: {{name: resnet18, stem: stride2, width: 8}}
data:
  train: {{name: folder, root: {root}/cifar10/train}}
  test: {{name: folder, root: {root}/cifar10/test}}
  views: {{name: simclr, size: 32, strength: 0.5}}
  batch_size: 64
  workers: 0
  limit: {{num: 640, balanced: true}}
  test_limit: {{num: 200, balanced: true}}
optim: {{lr: 0.1}}
trainer: {{max_steps: 6, accelerator: cpu, log_every_n_steps: 2}}
callbacks: {{throughput: {{}}, nan_guard: {{}}}}
"""


def run(cli: CliServer, folder: Path, *argv: str) -> str:
    ended = cli.run(argv, folder)
    assert ended.code == 0, ended.output
    return ended.output


def test_a_folder_of_images_from_fit_to_a_score(
    cli: CliServer, tmp_path: Path, real_images: Path
) -> None:
    config = tmp_path / "real.yaml"
    config.write_text(CONFIG.format(root=real_images))
    run(cli, tmp_path, "fit", "--config", str(config))
    run(cli, tmp_path, "extract", "--config", str(config))
    run(cli, tmp_path, "eval", "knn", "--config", str(config))

    store = sslight.load_features(tmp_path / "runs" / "real")
    train = store["train"]
    assert train.array().shape == (640, 64)
    assert np.isfinite(train.array()).all()
    assert np.bincount(train.labels).tolist() == [64] * 10
    assert sorted(train.classes)[:2] == ["airplane", "automobile"]
    assert str(train.ids[0]).endswith(".jpg")

    backbone = sslight.load_backbone(tmp_path / "runs" / "real")
    paths = [real_images / "cifar10" / "train" / train.ids[i] for i in range(4)]
    torch.testing.assert_close(
        backbone.embed(paths), torch.from_numpy(np.array(train.array()[:4])), rtol=1e-4, atol=1e-5
    )


def test_large_odd_grey_photos_go_through_extract(
    cli: CliServer, tmp_path: Path, real_images: Path
) -> None:
    config = tmp_path / "photos.yaml"
    config.write_text(
        f"backbone: {{name: resnet50}}\n"
        f"data: {{test: {{name: folder, root: {real_images}/photos}}, workers: 0,\n"
        f"       test_limit: 12, eval_batch_size: 6}}\n"
        f"trainer: {{accelerator: cpu}}\n"
    )
    run(cli, tmp_path, "extract", "--config", str(config), "init=random", "run_dir=photos")
    photos = sslight.load_features(tmp_path / "photos")["test"]
    assert photos.array().shape == (12, 2048)
    assert photos.ok.all()
    assert photos.labels is None
