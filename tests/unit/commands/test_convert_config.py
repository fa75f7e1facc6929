from __future__ import annotations

from pathlib import Path

import pytest

from sslight import cli, config

VISSL = Path(__file__).parents[1] / "convert" / "vissl"


def test_it_prints_a_config_that_can_be_loaded(capsys, tmp_path):
    assert cli.main(["convert-config", str(VISSL / "simclr.yaml")]) == 0
    (tmp_path / "printed.yaml").write_text(capsys.readouterr().out)
    assert config.load(tmp_path / "printed.yaml")["method"]["name"] == "simclr"


def test_it_writes_a_file_and_tells_the_notes(capsys, tmp_path):
    out = tmp_path / "ours.yaml"
    assert cli.main(["convert-config", str(VISSL / "pirl.yaml"), "-o", str(out)]) == 0
    printed = capsys.readouterr()
    assert "DATA.TRAIN.DATASET_NAMES" in printed.err
    assert "to fill in (???): 1." in printed.out
    assert out.read_text().startswith("# Converted from VISSL's pirl.yaml")
    assert "# - DATA.TRAIN.DATASET_NAMES" in out.read_text()
    assert "photometric: 0.66" in out.read_text()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("seed: 1\n", "no VISSL config"),
        ("a: [\n", "not valid YAML"),
        ("config:\n  MODEL: {}\n  OPTIMIZER: {weight_decay: much}\n", "expected a number"),
    ],
)
def test_what_it_refuses(content, said, capsys, tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(content)
    assert cli.main(["convert-config", str(path)]) == 2
    assert said in capsys.readouterr().err


def test_it_overwrites_nothing(capsys, tmp_path):
    out = tmp_path / "ours.yaml"
    out.write_text("mine")
    assert cli.main(["convert-config", str(VISSL / "simclr.yaml"), "-o", str(out)]) == 2
    assert out.read_text() == "mine"


def test_a_missing_file(capsys):
    assert cli.main(["convert-config", "nowhere.yaml"]) == 2
    assert "cannot be read" in capsys.readouterr().err
