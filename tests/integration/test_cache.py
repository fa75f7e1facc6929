"""data.cache changes how long training takes, and nothing else."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from cli_server import CliServer, Ended
from PIL import Image
from runs import assert_same_run, assert_same_state

from sslight.data.sources.shapes import Shapes

TESTS = Path(__file__).parent.parent

CONFIG = """
seed: 3
method: {name: simclr, hidden_dim: 16, out_dim: 8}
backbone: {name: resnet18, stem: small, width: 4}
data:
  train: {name: folder, root: images/train}
  test: {name: folder, root: images/test}
  views: {name: simclr, size: 16}
  batch_size: 8
  workers: 1
  on_error: replace
optim: {optimizer: sgd, lr: 0.1}
trainer: {max_epochs: 2, log_every_n_steps: 1, accelerator: cpu}
callbacks:
  knn: {k: [5]}
  nan_guard: {}
  checkpoint: {every_n_steps: 2, keep_last: 2}
"""


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder: JPEGs of several sizes in classes, one of them broken, and a config."""
    folder = tmp_path_factory.mktemp("user")
    for split, count in ("train", 40), ("test", 20):
        for i in range(count):
            source = Shapes(count, size=18 + i % 7)
            source.split = split
            source.open()
            assert source.labels is not None
            home = folder / "images" / split / f"class_{source.labels[i]}"
            home.mkdir(parents=True, exist_ok=True)
            pixels = source.load(i).permute(1, 2, 0).numpy()
            Image.fromarray(pixels).save(home / f"{i:03}.jpg")
    (folder / "images" / "train" / "class_0" / "bad.jpg").write_bytes(b"\xff\xd8\xff torn")
    (folder / "my.yaml").write_text(CONFIG)
    return folder


def fit(cli: CliServer, user: Path, run: str, *more: str) -> Ended:
    return cli.run(["fit", "--config", "my.yaml", f"run_dir={run}", *more], user, [TESTS])


@pytest.fixture(scope="module")
def plain(cli: CliServer, user: Path) -> Path:
    ended = fit(cli, user, "plain")
    assert ended.code == 0, ended.output
    assert "decod" not in ended.output
    return user / "plain"


def memory_of(output: str) -> list[Path]:
    """The folders in memory that a run named."""
    words = output.replace(".\n", "\n").split()
    return [Path(word) for word in words if word.startswith("/dev/shm/sslight-")]


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no memory-backed file system")
def test_ram_changes_nothing_and_is_gone_at_the_end(
    cli: CliServer, user: Path, plain: Path
) -> None:
    ended = fit(cli, user, "ram", "data.cache=ram")
    assert ended.code == 0, ended.output
    assert "data.train: decoding 41 images into memory" in ended.output
    assert "these images cannot be read: class_0/bad.jpg" in ended.output
    folders = memory_of(ended.output)
    assert len(folders) == 2
    assert not any(folder.exists() for folder in folders)
    assert_same_run(user / "ram", plain)


def test_a_folder_serves_killed_runs_later_ones_and_evaluation(
    cli: CliServer, user: Path, plain: Path
) -> None:
    killer = "callbacks.killer={name: 'killers:KillAt', where: batch_end, step: 7}"
    ended = fit(cli, user, "kept", "data.cache=decoded", killer, "--trust", "killers")
    assert ended.code == -signal.SIGKILL, ended.output
    assert "data.test: decoding 20 images into" in ended.output

    ended = fit(cli, user, "kept", "data.cache=decoded")
    assert ended.code == 0, ended.output
    assert "decoding" not in ended.output
    assert f"data.train: images come decoded from {user}/decoded/folder-" in ended.output
    assert_same_state(user / "kept", plain)

    figures: list[str | bytes] = []
    for run, more in ("plain", []), ("kept", ["data.cache=decoded"]):
        words = ["eval", "--config", "my.yaml", f"run_dir={run}", "eval={knn: {k: [1, 5]}}", *more]
        ended = cli.run(words, user, [TESTS])
        assert ended.code == 0, ended.output
        assert ("data.test: images come decoded from" in ended.output) == bool(more)
        figures.append((user / run / "eval" / "knn.json").read_text())
        for split in "train", "test":
            arrays = sorted((user / run / "features" / split).glob("*.npy"))
            assert len(arrays) >= 2
            figures += [path.read_bytes() for path in arrays]
    half = len(figures) // 2
    assert figures[1:half] == figures[half + 1 :]
    assert json.loads(figures[0])["rows"] == json.loads(figures[half])["rows"]


def test_a_run_may_go_on_with_another_cache(cli: CliServer, user: Path, plain: Path) -> None:
    killer = "callbacks.killer={name: 'killers:KillAt', where: batch_end, step: 3}"
    ended = fit(cli, user, "changed", killer, "--trust", "killers")
    assert ended.code == -signal.SIGKILL, ended.output
    ended = fit(cli, user, "changed", "data.cache=decoded", "data.cache_side=9")
    assert ended.code == 2
    assert "data.cache_side" in ended.output
    assert "data.cache:" not in ended.output
    ended = fit(cli, user, "changed", "data.cache=decoded")
    assert ended.code == 0, ended.output
    assert_same_state(user / "changed", plain)
