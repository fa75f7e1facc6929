"""``check --run`` over the whole walk: what it finds, and that it leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torchvision.io import write_png

from sslight import cli
from sslight.run import examine

TINY = {
    "method": {"name": "simclr", "hidden_dim": 8, "out_dim": 4},
    "backbone": {"name": "resnet10", "width": 2, "stem": "stride2"},
    "data": {
        "train": {"name": "folder", "root": "train"},
        "test": {"name": "folder", "root": "test"},
        "views": {"name": "simclr", "size": 16},
        "batch_size": 4,
        "workers": 0,
    },
    "optim": {"lr": 0.1, "warmup_epochs": 2},
    "trainer": {"max_epochs": 4, "accelerator": "cpu"},
    "run_dir": "run",
}


@pytest.fixture(autouse=True)
def desk(tmp_path, monkeypatch) -> Path:
    """A folder with two splits of twelve small images."""
    monkeypatch.setenv("SSLIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for number in range(24):
        kind, split = ("cat", "dog")[number % 2], ("train", "test")[number // 12]
        generator = torch.Generator().manual_seed(number)
        image = torch.randint(256, (3, 16, 16), generator=generator, dtype=torch.uint8)
        path = tmp_path / split / kind / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_png(image, str(path))
    return tmp_path


def files(folder: Path) -> dict[str, int]:
    found = [path for path in folder.rglob("*") if path.is_file() and "cache" not in path.parts]
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in found}


@pytest.mark.filterwarnings("ignore")
def test_a_right_config_is_measured_and_only_a_sheet_is_left(desk):
    before = files(desk)
    seen = examine(TINY)
    assert seen.problems == []
    assert seen.figures.images == 4
    lines = dict(seen.lines)
    assert lines["data.train"].startswith("all 12 images opened, all readable, 16 x 16 px")
    assert lines["data.train"].endswith("2 classes of 6")
    assert lines["duplicates"].startswith("0 (whole files compared: all 12 images of test")
    assert lines["in all"].endswith("12 steps; evaluation not counted")
    assert {"memory", "step", "  waiting", "epoch"} <= set(lines)
    assert "12 steps in all is little" in str(seen)
    assert set(files(desk)) - set(before) == {"run_views.png"}


@pytest.mark.filterwarnings("ignore")
def test_a_run_folder_gets_the_sheet_and_is_otherwise_left_alone(desk):
    (desk / "run" / "checkpoints").mkdir(parents=True)
    (desk / "run" / "checkpoints" / "step_000000001.ckpt").write_bytes(b"of a run")
    (desk / "run" / "config.yaml").write_text("seed: 1\n")
    before = files(desk)
    examine(TINY)
    after = files(desk)
    assert set(after) - set(before) == {"run/check_views.png"}
    assert all(after[name] == before[name] for name in before)


@pytest.mark.filterwarnings("ignore")
def test_trouble_is_found_on_the_command_line(desk, capsys):
    from sslight import config

    (desk / "train" / "cat" / "broken.png").write_bytes(b"junk")
    copied = (desk / "train" / "dog" / "1.png").read_bytes()
    (desk / "test" / "dog" / "again.png").write_bytes(copied)
    config.save(TINY, desk / "my.yaml")
    words = ["check", "--run", "--config", "my.yaml", "data.views.size=64", "trainer.devices=2"]
    assert cli.main([*words, "trainer.accelerator=cpu"]) == 2
    out, err = capsys.readouterr()
    problems = [line for line in out.splitlines() if line.startswith("!")]
    assert len(problems) == 2
    assert "cat/broken.png" in problems[0]
    assert "dog/again.png = dog/1.png" in problems[1]
    assert "> data.views.size=32" in out
    assert "one of 2 devices" in out
    assert "2 images at a time" in out  # a device's share of four
    assert "2 of these (!)" in err


@pytest.mark.filterwarnings("ignore")
def test_a_config_without_training_images_is_looked_at_only():
    data = {key: value for key, value in TINY["data"].items() if key != "train"}
    seen = examine({**TINY, "data": data})
    assert [label for label, _ in seen.lines] == ["data.test"]
    assert seen.figures is None


def test_images_to_open_must_be_a_number_from_one(desk, capsys):
    assert cli.main(["check", "--run", "--config", "quickstart", "--images", "0"]) == 2
    assert "--images is 0" in capsys.readouterr().err
