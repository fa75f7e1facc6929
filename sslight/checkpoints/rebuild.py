"""Which network a file's tensors belong to, told by their names and shapes alone."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import torch

from sslight.backbones import BACKBONES, builder
from sslight.backbones.spec import BackboneSpec
from sslight.checkpoints.layouts._names import Shapes

#: Heads are not in the shapes: those of the published widths.
_HEADS = {192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16, 1536: 24}
_LAYER_SCALE = 1e-5  # any value: the file's replaces it

#: RegNets by the width of their last stage, which no two of them share.
REGNETS = {
    400: "regnet_x_400mf",
    672: "regnet_x_800mf",
    912: "regnet_x_1_6gf",
    1008: "regnet_x_3_2gf",
    1920: "regnet_x_8gf",
    2048: "regnet_x_16gf",
    2520: "regnet_x_32gf",
    440: "regnet_y_400mf",
    784: "regnet_y_800mf",
    888: "regnet_y_1_6gf",
    1512: "regnet_y_3_2gf",
    2016: "regnet_y_8gf",
    3024: "regnet_y_16gf",
    3712: "regnet_y_32gf",
    7392: "regnet_y_128gf",
}

# torchvision's other families, by a name that only they have.
_FAMILIES: dict[str, tuple[str, ...]] = {
    "features.denseblock1.denselayer1.conv1.weight": ("densenet",),
    "features.0.0.weight": ("convnext_", "efficientnet_", "mobilenet_", "swin_"),
}


def network_of(shapes: Shapes) -> tuple[BackboneSpec, str] | None:
    """The backbone that has tensors of these names and shapes, and what had to be assumed.

    Args:
        shapes: By the names that sslight's backbones have; those of heads may be among them.

    Returns:
        None where the network is not one that sslight builds by name.
    """
    if "layer1.0.conv1.weight" in shapes and len(shapes.get("conv1.weight", ())) == 4:
        return _resnet(shapes)
    if "patch_embed.proj.weight" in shapes and "blocks.0.attn.qkv.bias" in shapes:
        return _vit(shapes)
    if "trunk_output.block4.block4-0.f.a.0.weight" in shapes:
        name = REGNETS.get(shapes["trunk_output.block4.block4-0.f.a.0.weight"][0])
        return (BackboneSpec(name), "") if name else None
    return _torchvision(shapes)


def _resnet(shapes: Shapes) -> tuple[BackboneSpec, str] | None:
    from torchvision.models.resnet import Bottleneck

    from sslight.backbones.resnet import ARCHITECTURES

    width, in_channels, kernel, _ = shapes["conv1.weight"]
    bottleneck = "layer1.0.conv3.weight" in shapes
    depths = [_count(shapes, rf"layer{stage}\.(\d+)\.") for stage in (1, 2, 3, 4)]
    inner, per_group = shapes["layer1.0.conv2.weight"][:2]
    groups = inner // per_group
    group_width = inner * 64 // (width * groups)
    names = [
        (name, (g, w) == (groups, group_width))
        for name, (block, layers, g, w) in ARCHITECTURES.items()
        if layers == depths and (block is Bottleneck) == bottleneck
    ]
    if not names or kernel not in (3, 7):
        return None
    name, exact = max(names, key=lambda entry: entry[1])
    given: dict[str, Any] = {"stem": "small"} if kernel == 3 else {}
    given |= {"width": width} if width != 64 else {}
    given |= {"in_channels": in_channels} if in_channels != 3 else {}
    if not exact:
        given["extra"] = {"groups": groups, "width_per_group": group_width}
    assumed = "a 3x3 first convolution of stride 1 without max-pooling" if kernel == 3 else ""
    return BackboneSpec(name, given), assumed


def _vit(shapes: Shapes) -> tuple[BackboneSpec, str] | None:
    from sslight.backbones.vit import SHAPES

    width, _, patch, _ = shapes["patch_embed.proj.weight"]
    depth, heads = _count(shapes, r"blocks\.(\d+)\."), _HEADS.get(width, width // 64)
    gated = shapes["blocks.0.mlp.fc1.weight"][0] != shapes["blocks.0.mlp.fc2.weight"][1]
    mlp = "swiglu" if gated else "gelu"
    if not heads or not {"pos_embed", "norm.weight"} <= shapes.keys():
        return None
    found = {"patch_size": patch, "width": width, "depth": depth, "heads": heads, "mlp": mlp}

    def agreeing(name: str) -> int:
        return sum(getattr(SHAPES[name], key) == value for key, value in found.items())

    name = max(SHAPES, key=agreeing)
    given = {k: v for k, v in found.items() if getattr(SHAPES[name], k) != v}
    return BackboneSpec(name, {**given, **_vit_options(shapes, patch)}), f"{heads} attention heads"


def _vit_options(shapes: Shapes, patch: int) -> dict[str, Any]:
    """Arguments of a transformer that are not their defaults."""
    options: dict[str, Any] = {}
    if (size := patch * math.isqrt(shapes["pos_embed"][1])) != 224:
        options["image_size"] = size
    if (channels := shapes["patch_embed.proj.weight"][1]) != 3:
        options["in_channels"] = channels
    if "reg_token" in shapes:
        options["registers"] = shapes["reg_token"][1]
    if "cls_token" not in shapes:
        options |= {"class_token": False, "pooling": "avg"}
    if "blocks.0.ls1.gamma" in shapes:
        options["layer_scale"] = _LAYER_SCALE
    return options


def _torchvision(shapes: Shapes) -> tuple[BackboneSpec, str] | None:
    for mark, family in _FAMILIES.items():
        if mark in shapes:
            for name in (n for n in BACKBONES if n.startswith(family)):
                if _fits(name, shapes):
                    return BackboneSpec(name), ""
    return None


def _fits(name: str, shapes: Shapes) -> bool:
    with torch.device("meta"):
        own = builder(name)().state_dict()
    wanted = {n: tuple(t.shape) for n, t in own.items() if not n.endswith("num_batches_tracked")}
    return all(shapes.get(n) == shape for n, shape in wanted.items())


def _count(shapes: Shapes, pattern: str) -> int:
    found: Iterator[int] = (int(m[1]) for name in shapes if (m := re.match(pattern, name)))
    return max(found, default=-1) + 1
