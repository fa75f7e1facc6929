from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest

from sslight.errors import RefusedRunError
from sslight.reports import RunInputs, write_report
from sslight.reports.write import write_quietly
from sslight.run.report import inputs_of

NASTY = "<script>alert('x')</script>"


def script_data(text: str) -> dict:
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict]] = []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))


def tags(text: str) -> list[tuple[str, dict]]:
    parser = Tags()
    parser.feed(text)
    return parser.seen


def test_a_whole_run(finished, tmp_path):
    written = write_report([inputs_of(finished)], tmp_path / "page.html")
    text = written.path.read_text()
    assert written.gaps == {"shapes": []}
    assert "simclr on resnet18" in text
    assert "torch" in text
    assert len(text) < 1_000_000
    (run,) = script_data(text)["runs"]
    assert len(run["map"]["tiles"]) == 40
    assert run["map"]["names"]["0"] == "disk"
    assert text.count("<li class=") >= 24  # the gallery


def test_nothing_is_fetched(finished, tmp_path):
    text = write_report([inputs_of(finished)], tmp_path / "page.html").path.read_text()
    for tag, attributes in tags(text):
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes)
    assert "@import" not in text
    assert not re.search(r"url\((?!\"data:)", text)


@pytest.mark.parametrize("content", ["config", "metrics", "features"])
def test_each_kind_of_remnant_gives_a_page(finished, tmp_path, content):
    folder = tmp_path / "run"
    folder.mkdir()
    if content == "features":
        shutil.copytree(finished / "features", folder / "features")
    else:
        name = {"config": "config.yaml", "metrics": "metrics.jsonl"}[content]
        shutil.copy(finished / name, folder / name)
    written = write_report([RunInputs(folder)], tmp_path / "page.html")
    gaps = " ".join(written.gaps["run"])
    assert ("sslight extract --config" in gaps) == (content != "features")
    assert f"sslight eval --config {folder}" in gaps
    assert "sslight eval --config" in written.path.read_text()


def test_a_run_that_has_only_begun(bare, tmp_path):
    written = write_report([RunInputs(bare)], tmp_path / "new" / "page.html")
    assert "too early to tell" in written.verdicts["begun"]
    assert "begun" in repr(written)


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(RefusedRunError, match="no folder"):
        write_report([RunInputs(tmp_path / "absent")], tmp_path / "page.html")
    with pytest.raises(RefusedRunError, match="is no run"):
        write_report([RunInputs(tmp_path)], tmp_path / "page.html")


def test_names_are_escaped_everywhere(finished, tmp_path):
    folder = tmp_path / "<b>run"
    shutil.copytree(finished, folder)
    manifest = json.loads((folder / "features" / "manifest.json").read_text())
    for split in manifest["splits"].values():
        split["classes"][:3] = [NASTY, "</script><img src=x onerror=y>", '"><i>']
    (folder / "features" / "manifest.json").write_text(json.dumps(manifest))
    (folder / "log.txt").write_text(
        f"2026-01-01 00:00:00 WARNING Unreadable image (on_error: skip): {NASTY}.jpg\n"
    )
    data = inputs_of(folder).data
    text = write_report([RunInputs(folder, data)], tmp_path / "page.html").path.read_text()
    assert NASTY not in text
    names = script_data(text)["runs"][0]["map"]["names"]
    assert names["0"] == NASTY
    seen = tags(text)
    assert "<b>run" not in text
    assert not [a for _, a in seen if "onerror" in a]
    assert [tag for tag, _ in seen].count("script") == 2


def test_secrets_stay_out_of_the_page(bare, tmp_path):
    (bare / "config.yaml").write_text(
        "method: {name: simclr}\ndata: {train: {name: hf, token: hunter2}}\n"
        "init: https://ann:hunter3@example.org/w.pt\n"
    )
    (bare / "environment.json").write_text(
        json.dumps({"starts": [{"when": "2026-01-01T00:00:00+00:00", "versions": {}, "git": {},
                                "hardware": {}, "command": "fit data.train.token=hunter4"}]})
    )  # fmt: skip
    text = write_report([RunInputs(bare)], tmp_path / "page.html").path.read_text()
    assert not re.search(r"hunter[234]", text)
    assert "ann:" not in text


def test_features_of_other_weights_are_called_so(finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    path = folder / "features" / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "weights": {"sha256": "0", "which": "main"}}))
    text = write_report([inputs_of(folder)], tmp_path / "page.html").path.read_text()
    assert "made of other weights" in text
    fresh = write_report([inputs_of(finished)], tmp_path / "page.html").path.read_text()
    assert "made of other weights" not in fresh


def test_images_that_changed_are_not_shown(finished, tmp_path):
    data = inputs_of(finished).data
    data.source("test").fingerprint = lambda: "another"
    written = write_report([RunInputs(finished, data)], tmp_path / "page.html")
    assert "have changed since the features were made" in " ".join(written.gaps["shapes"])


def test_runs_side_by_side_show_what_differs(finished, tmp_path):
    other = tmp_path / "shapes"
    shutil.copytree(finished, other)
    config = (other / "config.yaml").read_text()
    assert "lr: 0.1" in config
    (other / "config.yaml").write_text(config.replace("lr: 0.1", "lr: 0.25"))
    written = write_report([inputs_of(finished), inputs_of(other)], tmp_path / "page.html")
    text = written.path.read_text()
    assert len(written.verdicts) == 2  # told apart by their parents, since both are "shapes"
    rows = re.search(r'<section id="differences">(.*?)</section>', text, re.DOTALL)[1]
    assert re.findall(r"<code>(.*?)</code>", rows) == ["optim.lr", "0.1", "0.25"]
    losses = next(c for c in script_data(text)["charts"] if c["title"] == "Loss")
    assert [curve["run"] for curve in losses["curves"]] == [0, 1]


class Noise:
    """The worst images for a JPEG, of any number."""

    def __init__(self, source):
        self.source = source

    def fingerprint(self):
        return self.source.fingerprint()

    def load(self, i):
        import torch

        draw = np.random.default_rng(i)
        return torch.from_numpy(draw.integers(0, 256, (3, 256, 300), dtype=np.uint8))


def test_a_page_stays_small(finished):
    from sslight.reports.pictures import SIDE, Sheet

    class Data:
        noise = Noise(inputs_of(finished).data.source("test"))

        def source(self, split):
            return self.noise

    sheet = Sheet(Data())
    for row in range(100):
        sheet.place("test", row)
    facts = sheet.facts()
    assert facts["side"] == SIDE
    full_page = len(facts["uri"]) / 100 * (800 + 24 * 9) * 2  # two runs, every tile another image
    assert full_page < 4_500_000


def test_an_error_is_a_sentence_in_the_log(bare, monkeypatch, caplog):
    def broken(*_):
        raise ZeroDivisionError("nothing to divide")

    monkeypatch.setattr("sslight.reports.write.collect", broken)
    assert write_quietly(RunInputs(bare)) is None
    assert "could not be written (ZeroDivisionError: nothing to divide)" in caplog.text
    assert not (bare / "report.html").exists()
