"""An export from end to end: refusals, the fresh process, the folder."""

from __future__ import annotations

import json
import runpy

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import nn

import sslight
from sslight import registry
from sslight.backbones.inputs import INPUTS, see
from sslight.checkpoints.export import Provenance, write_export
from sslight.checkpoints.export._check import Check
from sslight.checkpoints.export.base import Format, difference
from sslight.checkpoints.load import load_backbone
from sslight.errors import RefusedRunError

FORMATS = {name: registry.resolve("format", name)() for name in registry.names("format")}


def loaded(name="resnet10", size=24, **arguments):
    torch.manual_seed(0)
    network = sslight.backbone(name, **{"stem": "small", "width": 8, **arguments}).eval()
    return load_backbone(network, view=sslight.views("eval", size).specs[0])


@pytest.fixture
def unchecked(monkeypatch):
    """No fresh process: tests of other things need none."""
    monkeypatch.setattr(
        "sslight.checkpoints.export._writing.check_files", lambda *a: Check(False, reason="test")
    )


def test_the_formats_are_found():
    assert set(FORMATS) == {
        *("safetensors", "torchvision", "timm", "vissl", "detectron2", "onnx", "torch_export"),
        "huggingface",
    }
    assert all(isinstance(layout, Format) for layout in FORMATS.values())


def test_a_fresh_process_without_sslight_reads_the_file(tmp_path, monkeypatch):
    made = loaded("resnet18", stem="imagenet", width=64)
    done = write_export(made, "torchvision", tmp_path / "out", FORMATS)
    assert "sslight" not in FORMATS["torchvision"].check(made)
    assert done.check.done
    assert done.check.difference <= 1e-5 * done.check.largest
    assert done.check.versions.keys() == {"torchvision"}
    record = json.loads((tmp_path / "out" / "export.json").read_text())
    assert record["check"]["difference"] == done.check.difference
    assert (tmp_path / "out" / "model.pth").stat().st_mode & 0o777 == (
        (tmp_path / "out" / "README.md").stat().st_mode & 0o777
    )


class Wrong(Format):
    """Comes back as another network."""

    def write(self, made, folder):
        (folder / "model.pth").write_text("nothing")

    def reader(self, made):
        return FORMATS["torch_export"].reader(made)

    def usage(self, made):
        return "import torch\nmodel = lambda images: torch.zeros(len(images), 64)\n"


def test_wrong_weights_are_found_and_nothing_is_left(tmp_path):
    with pytest.raises(RuntimeError, match="other embeddings"):
        write_export(loaded(), "wrong", tmp_path / "out", {"wrong": Wrong()})
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_names_the_formats_that_fit(tmp_path):
    with pytest.raises(RefusedRunError, match="torchvision has no resnet10") as refused:
        write_export(loaded(), "torchvision", tmp_path / "out", FORMATS)
    fitting = str(refused.value).partition("fits: ")[2].rstrip(".").split(", ")
    assert {"safetensors", "onnx", "torch_export", "huggingface"} <= set(fitting)
    assert not {"timm", "vissl", "detectron2", "torchvision"} & set(fitting)
    with pytest.raises(RefusedRunError, match=r"conv1.weight is \[64, 3, 3, 3\] here and"):
        write_export(loaded("resnet18", width=64), "torchvision", tmp_path / "out", FORMATS)
    own = load_backbone(nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1)))
    with pytest.raises(RefusedRunError, match="network of your own"):
        write_export(own, "safetensors", tmp_path / "out", FORMATS)
    with pytest.raises(RefusedRunError, match="no weights"):
        write_export(load_backbone("pixels"), "safetensors", tmp_path / "out", FORMATS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", INPUTS)
def test_networks_that_see_something_else_stay_with_those_that_compute_it(what):
    made = loaded("resnet18", stem="imagenet", width=64)
    see(made.backbone, what)
    refused = {name for name, layout in FORMATS.items() if layout.refusal(made)}
    assert {"torchvision", "vissl", "detectron2"} <= refused
    assert not {"safetensors", "onnx", "torch_export"} & refused


def test_names_and_shapes_that_differ_are_told():
    ours = {"a": torch.zeros(2), "b": torch.zeros(3)}
    assert difference(ours, dict(ours)) is None
    assert "has no c" in str(difference(ours, {**ours, "c": torch.zeros(1)}))
    assert "has a b more" in str(difference(ours, {"a": torch.zeros(2)}))
    assert difference(ours, {**ours, "b": torch.zeros(4)}) == "b is [3] here and [4] there"


def test_an_earlier_export_is_replaced_and_other_folders_are_not(tmp_path, unchecked):
    made, out = loaded(), tmp_path / "out"
    write_export(made, "safetensors", out, FORMATS)
    (out / "mine.txt").write_text("kept")
    with torch.no_grad():
        made.backbone.conv1.weight.add_(1)
    write_export(made, "safetensors", out, FORMATS)
    again = load_backbone(out / "model.safetensors")
    torch.testing.assert_close(again.backbone.conv1.weight, made.backbone.conv1.weight)
    assert (out / "mine.txt").read_text() == "kept"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("x")
    with pytest.raises(RefusedRunError, match="no export"):
        write_export(made, "safetensors", tmp_path / "full", FORMATS)


@pytest.mark.parametrize("side", [(40, 60), (24, 24)])
@pytest.mark.parametrize("options", [{}, {"resize": 30}, {"mean": None, "std": None}])
def test_the_transform_gives_sslights_pixels(tmp_path, unchecked, side, options):
    spec = sslight.augment.presets.PRESETS["eval"](size=24, **options)[0]
    made = load_backbone(loaded().backbone, view=spec)
    write_export(made, "safetensors", tmp_path / "out", FORMATS)
    pixels = np.random.default_rng(0).integers(0, 256, (*side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    load = runpy.run_path(str(tmp_path / "out" / "transform.py"))["load"]
    ours = made.transform(tmp_path / "x.png")
    torch.testing.assert_close(load(tmp_path / "x.png"), ours, rtol=0, atol=1e-6)
    fields = json.loads((tmp_path / "out" / "transform.json").read_text())
    assert fields["size"] == 24


def test_a_view_that_draws_is_no_transform(tmp_path):
    made = load_backbone(loaded().backbone, view=sslight.views("simclr", 24).specs[0])
    with pytest.raises(RefusedRunError, match="draws at random"):
        write_export(made, "safetensors", tmp_path / "out", FORMATS)


def test_the_card_tells_what_is_known(tmp_path, unchecked):
    known = Provenance(
        method="simclr",
        about="SimCLR (Chen et al., 2020).",
        data="train: {name: folder}",
        recipe="method: {name: simclr}",
        evals=[{"protocol": "knn", "metrics": {"k20/top1": 0.51234}, "n": 100}],
    )
    write_export(loaded(), "safetensors", tmp_path / "out", FORMATS, known)
    text = (tmp_path / "out" / "README.md").read_text()
    header = yaml.safe_load(text.split("---\n")[1])
    assert header["library_name"] == "sslight"
    assert "simclr" in header["tags"]
    for words in ("SimCLR (Chen", "name: folder", "method: {name", "| knn | k20/top1 | 0.5123 |"):
        assert words in text
    assert FORMATS["safetensors"].usage(loaded()).strip() in text
    assert "[B, 3, 24, 24]" in text
