"""Names of weights in other libraries: pure functions of names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from torch import Tensor

#: ResNets by name -> depth, groups, width per group: what VISSL's and detectron2's configs ask.
RESNETS = {
    "resnet18": (18, 1, 64), "resnet34": (34, 1, 64), "resnet50": (50, 1, 64),
    "resnet101": (101, 1, 64), "resnet152": (152, 1, 64), "resnext50_32x4d": (50, 32, 4),
    "resnext101_32x8d": (101, 32, 8), "resnext101_64x4d": (101, 64, 4),
    "wide_resnet50_2": (50, 1, 128), "wide_resnet101_2": (101, 1, 128),
}  # fmt: skip

#: torchvision's regnet_<key> -> timm's name.
TIMM_REGNETS = {
    "x_400mf": "regnetx_004_tv", "x_800mf": "regnetx_008", "x_1_6gf": "regnetx_016",
    "x_3_2gf": "regnetx_032", "x_8gf": "regnetx_080", "x_16gf": "regnetx_160",
    "x_32gf": "regnetx_320", "y_400mf": "regnety_004", "y_800mf": "regnety_008_tv",
    "y_1_6gf": "regnety_016", "y_3_2gf": "regnety_032", "y_8gf": "regnety_080_tv",
    "y_16gf": "regnety_160", "y_32gf": "regnety_320", "y_128gf": "regnety_1280",
}  # fmt: skip

#: Parts of a RegNet block: torchvision's name, timm's, ClassyVision's (which VISSL trains).
_REGNET_PARTS = (
    ("f.a.0.", "conv1.conv.", "f.a.0."),
    ("f.a.1.", "conv1.bn.", "f.a.1."),
    ("f.b.0.", "conv2.conv.", "f.b.0."),
    ("f.b.1.", "conv2.bn.", "f.b.1."),
    ("f.se.fc1.", "se.fc1.", "f.se.excitation.0."),
    ("f.se.fc2.", "se.fc2.", "f.se.excitation.2."),
    ("f.c.0.", "conv3.conv.", "f.c."),
    ("f.c.1.", "conv3.bn.", "f.final_bn."),
    ("proj.0.", "downsample.conv.", "proj."),
    ("proj.1.", "downsample.bn.", "bn."),
)
_REGNET_BLOCK = re.compile(r"trunk_output\.block(\d+)\.block\d+-(\d+)\.(.+)")


def renamed(state: Mapping[str, Tensor], rename: Callable[[str], str]) -> dict[str, Tensor]:
    """The same tensors under other names."""
    return {rename(name): tensor for name, tensor in state.items()}


def regnet_to_timm(name: str) -> str:
    """Turn torchvision's name of a RegNet's tensor to timm's."""
    found = _REGNET_BLOCK.fullmatch(name)
    if found is None:
        return name.replace("stem.0.", "stem.conv.").replace("stem.1.", "stem.bn.")
    return f"s{found[1]}.b{int(found[2]) + 1}.{_part(found[3], 1)}"


def regnet_to_vissl(name: str) -> str:
    """Turn torchvision's name of a RegNet's tensor to that in VISSL's trunk."""
    found = _REGNET_BLOCK.fullmatch(name)
    if found is None:
        return f"_feature_blocks.conv1.{name}"
    stage = int(found[1])
    return f"_feature_blocks.res{stage + 1}.block{stage}-{found[2]}.{_part(found[3], 2)}"


def _part(rest: str, column: int) -> str:
    for row in _REGNET_PARTS:
        if rest.startswith(row[0]):
            return row[column] + rest.removeprefix(row[0])
    raise ValueError(f"{rest!r} is no part of a RegNet's block.")


def resnet_to_vissl(name: str) -> str:
    """Turn torchvision's name of a ResNet's tensor to that in VISSL's trunk."""
    return f"_feature_blocks.{name}"


def resnet_to_detectron2(name: str) -> str:
    """Turn torchvision's name of a ResNet's tensor to detectron2's (``res2.0.conv1.weight``)."""
    name = re.sub(r"^layer(\d)\.", lambda m: f"res{int(m[1]) + 1}.", name)
    name = name if name.startswith("res") else f"stem.{name}"
    name = re.sub(r"\bbn(\d)\.", r"conv\1.norm.", name)
    return name.replace(".downsample.0.", ".shortcut.").replace(".downsample.1.", ".shortcut.norm.")


def resnet_from_detectron2(name: str) -> str:
    """The way back from :func:`resnet_to_detectron2`."""
    name = name.replace(".shortcut.norm.", ".downsample.1.").replace(".shortcut.", ".downsample.0.")
    name = re.sub(r"\bconv(\d)\.norm\.", r"bn\1.", name.removeprefix("stem."))
    return re.sub(r"^res(\d)\.", lambda m: f"layer{int(m[1]) - 1}.", name)
