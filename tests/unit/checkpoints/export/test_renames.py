"""Names in other libraries, against lists written down from those libraries."""

from __future__ import annotations

import torch
import torchvision

from sslight.checkpoints.export._renames import (
    resnet_from_detectron2,
    resnet_to_detectron2,
    resnet_to_vissl,
)

NORM = ("weight", "bias", "running_mean", "running_var")


def names_of(arch: str) -> list[str]:
    with torch.device("meta"):
        state = torchvision.models.get_model(arch).state_dict()
    unused = ("num_batches_tracked", "fc.weight", "fc.bias")
    return [name for name in state if not name.endswith(unused)]


def detectron2_names(blocks: tuple[int, ...], convs: int, shortcuts: tuple[int, ...]) -> set[str]:
    """Parameters and buffers of detectron2's ResNet: BasicBlock has 2, BottleneckBlock 3 convs."""
    layers = ["stem.conv1"]
    for stage, count in zip((2, 3, 4, 5), blocks, strict=True):
        for block in range(count):
            layers += [f"res{stage}.{block}.conv{i + 1}" for i in range(convs)]
        layers += [f"res{stage}.0.shortcut"] if stage in shortcuts else []
    return {f"{layer}.weight" for layer in layers} | {
        f"{layer}.norm.{part}" for layer in layers for part in NORM
    }


def test_detectron2_names_are_those_of_its_resnets():
    fifty = {resnet_to_detectron2(name) for name in names_of("resnet50")}
    assert fifty == detectron2_names((3, 4, 6, 3), 3, (2, 3, 4, 5))
    eighteen = {resnet_to_detectron2(name) for name in names_of("resnet18")}
    assert eighteen == detectron2_names((2, 2, 2, 2), 2, (3, 4, 5))
    assert len(fifty) == 265


def test_names_come_back_from_detectron2():
    for arch in ("resnet18", "resnet50"):
        names = names_of(arch)
        assert [resnet_from_detectron2(resnet_to_detectron2(name)) for name in names] == names


def test_detectron2s_matching_of_name_ends_finds_each_name_once():
    """Its rule: the longest file name that is the whole end of the model's name."""
    file = {resnet_to_detectron2(name) for name in names_of("resnet50")}
    for prefix in ("backbone.", "backbone.bottom_up."):
        for name in file:
            model = prefix + name
            ends = [key for key in file if model == key or model.endswith(f".{key}")]
            assert max(ends, key=len) == name


def test_vissls_trunk_names():
    names = {resnet_to_vissl(name) for name in names_of("resnet50")}
    layers = ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4"]
    assert {name.split(".")[1] for name in names} == set(layers)
    assert "_feature_blocks.layer3.5.conv2.weight" in names
    assert all(name.startswith("_feature_blocks.") for name in names)
