"""Written weights, read back as their users read them, give the embeddings that were there."""

from __future__ import annotations

import importlib.util
import os
import runpy
from pathlib import Path

import pytest
import torch
import torchvision

import sslight
from sslight import registry
from sslight.backbones.vit_weights import from_torchvision, to_torchvision
from sslight.checkpoints.export._renames import regnet_to_timm, regnet_to_vissl
from sslight.checkpoints.export.base import Format, plain_state
from sslight.checkpoints.export.torch_export import example
from sslight.checkpoints.load import load_backbone
from sslight.checkpoints.loaded import LoadedBackbone

FORMATS = registry.names("format")
TINY = {"image_size": 16, "patch_size": 4, "width": 32, "heads": 2, "depth": 2}
BACKBONES = {
    "small resnet": ("resnet10", {"stem": "small", "width": 8}),
    "resnet10": ("resnet10", {"in_channels": 1}),
    "resnet18": ("resnet18", {}),
    "regnet": ("regnet_y_400mf", {}),
    "vit": ("vit_t_16", TINY),
    "vit of averages": ("vit_t_16", {**TINY, "class_token": False, "pooling": "avg"}),
    "vit with all": ("vit_s_16", {**TINY, "registers": 2, "pooling": "avg", "layer_scale": 0.1,
                                  "mask_token": True}),
    "gated vit": ("vit_g_14", {**TINY, "patch_size": 8}),
    "timm's": ("timm/test_vit", {"image_size": 32}),
    "squeezenet": ("squeezenet1_1", {}),
}  # fmt: skip
#: Which formats each of them fits.
FITS = {
    "small resnet": "huggingface onnx safetensors torch_export",
    "resnet10": "huggingface onnx safetensors timm torch_export",
    "resnet18": "detectron2 huggingface onnx safetensors timm torch_export torchvision vissl",
    "regnet": "huggingface onnx safetensors timm torch_export torchvision vissl",
    "vit": "huggingface onnx safetensors timm torch_export vissl",
    "vit of averages": "huggingface onnx safetensors timm torch_export vissl",
    "vit with all": "huggingface onnx safetensors timm torch_export",
    "gated vit": "huggingface onnx safetensors timm torch_export",
    "timm's": "huggingface onnx safetensors timm torch_export",
    "squeezenet": "huggingface onnx safetensors torch_export torchvision",
}
#: Formats that are slow, or another one's files, are tried on one network of each kind.
ONCE = dict.fromkeys(("onnx", "torch_export", "huggingface"), ("small resnet", "vit"))


def layout(name: str) -> Format:
    return registry.resolve("format", name)()


def loaded(label: str) -> LoadedBackbone:
    """A backbone with weights and statistics such that no two tensors are alike."""
    name, arguments = BACKBONES[label]
    if name.startswith("timm/"):
        pytest.importorskip("timm")
    torch.manual_seed(0)
    network = sslight.backbone(name, **arguments).eval()
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(0.02 * torch.rand_like(tensor))
    size = arguments.get("image_size", 32)
    return load_backbone(network, view=sslight.views("eval", size).specs[0])


def read_back(made: LoadedBackbone, name: str, folder: Path) -> torch.Tensor:
    """Write, then run the format's check code in this process, as the fresh one does."""
    chosen = layout(name)
    absent = [p for p in chosen.reader(made).packages if importlib.util.find_spec(p) is None]
    if name == "onnx":
        absent += [p for p in ("onnx", "onnxscript") if importlib.util.find_spec(p) is None]
    if absent:
        pytest.skip(f"{name} needs {', '.join(absent)}, not installed")
    chosen.write(made, folder)
    (folder / "load.py").write_text(chosen.check(made))
    before = Path.cwd()
    os.chdir(folder)
    try:
        with torch.no_grad():
            return runpy.run_path("load.py")["model"](example(made, 3))
    finally:
        os.chdir(before)


PAIRS = [
    (label, name)
    for label, fitting in FITS.items()
    for name in fitting.split()
    if label in ONCE.get(name, FITS)
]


@pytest.mark.parametrize(("label", "name"), PAIRS)
def test_what_is_read_back_embeds_alike(label, name, tmp_path):
    made = loaded(label)
    with torch.no_grad():
        expected = made.backbone(example(made, 3))
    got = read_back(made, name, tmp_path)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("label", BACKBONES)
def test_which_formats_fit(label):
    pytest.importorskip("timm")
    made = loaded(label)
    assert [n for n in FORMATS if layout(n).refusal(made) is None] == FITS[label].split()


def test_two_swapped_tensors_would_be_seen(tmp_path, monkeypatch):
    made = loaded("resnet18")
    with torch.no_grad():
        expected = made.backbone(example(made, 3))
    state = plain_state(made.backbone)
    a, b = "layer1.0.conv1.weight", "layer1.0.conv2.weight"
    state[a], state[b] = state[b], state[a]
    monkeypatch.setattr("sslight.checkpoints.export.torchvision.plain_state", lambda _: state)
    got = read_back(made, "torchvision", tmp_path)
    assert (got - expected).abs().max() > 1e-2 * expected.abs().max()


def test_our_transformer_in_torchvisions_names_is_torchvisions():
    torch.manual_seed(0)
    ours = sslight.backbone("vit_b_16", **TINY).eval()
    theirs = torchvision.models.VisionTransformer(
        image_size=16, patch_size=4, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=128
    ).eval()
    theirs.heads = torch.nn.Identity()
    theirs.load_state_dict(to_torchvision(ours.state_dict()))
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(theirs(images), ours(images), rtol=1e-4, atol=1e-5)
    back = from_torchvision(to_torchvision(ours.state_dict()))
    assert back.keys() == ours.state_dict().keys()
    with pytest.raises(ValueError, match="no parameter 'reg_token'"):
        to_torchvision({"reg_token": torch.zeros(1)})


def test_regnets_names_are_those_that_timm_derives_itself():
    """timm's own renaming of torchvision's and of VISSL's files is the oracle."""
    timm_regnet = pytest.importorskip("timm.models.regnet")
    names = torchvision.models.regnet_y_400mf().state_dict()
    state = {name: torch.zeros(1) for name in names if not name.startswith("fc.")}
    by_timm = timm_regnet._filter_fn(dict(state))
    assert {regnet_to_timm(name) for name in state} == by_timm.keys()
    trunk = {regnet_to_vissl(name): tensor for name, tensor in state.items()}
    model = {"trunk": trunk, "heads": {}}
    read = timm_regnet._filter_fn({"classy_state_dict": {"base_model": {"model": model}}})
    assert read.keys() == by_timm.keys()
