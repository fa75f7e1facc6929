"""Backbones: the table of names, and the two doors to it (:func:`builder`, :func:`backbone`).

Nothing heavy is imported here; a builder's module is imported when its name is used.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from sslight.backbones.spec import bind, did_you_mean

_RESNETS = (
    "resnet10 resnet18 resnet34 resnet50 resnet101 resnet152 resnext50_32x4d resnext101_32x8d "
    "resnext101_64x4d wide_resnet50_2 wide_resnet101_2"
)
_VITS = (
    "vit_t_16 vit_s_16 vit_s_14 vit_b_16 vit_b_32 vit_b_14 vit_l_16 vit_l_32 vit_l_14 vit_h_14 "
    "vit_g_14"
)
_DROP_PATH = (
    "convnext_tiny convnext_small convnext_base convnext_large efficientnet_b0 efficientnet_b1 "
    "efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_b5 efficientnet_b6 "
    "efficientnet_b7 efficientnet_v2_s efficientnet_v2_m efficientnet_v2_l maxvit_t swin_t swin_s "
    "swin_b swin_v2_t swin_v2_s swin_v2_b"
)
_PLAIN = (
    "alexnet densenet121 densenet161 densenet169 densenet201 googlenet inception_v3 mnasnet0_5 "
    "mnasnet0_75 mnasnet1_0 mnasnet1_3 mobilenet_v2 mobilenet_v3_small mobilenet_v3_large "
    "regnet_x_400mf regnet_x_800mf regnet_x_1_6gf regnet_x_3_2gf regnet_x_8gf regnet_x_16gf "
    "regnet_x_32gf regnet_y_400mf regnet_y_800mf regnet_y_1_6gf regnet_y_3_2gf regnet_y_8gf "
    "regnet_y_16gf regnet_y_32gf regnet_y_128gf shufflenet_v2_x0_5 shufflenet_v2_x1_0 "
    "shufflenet_v2_x1_5 shufflenet_v2_x2_0 squeezenet1_0 squeezenet1_1 vgg11 vgg11_bn vgg13 "
    "vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn"
)

BACKBONES: dict[str, str] = {
    "pixels": "sslight.backbones.pixels:pixels",
    **{name: f"sslight.backbones.resnet:{name}" for name in _RESNETS.split()},
    **{name: f"sslight.backbones.vit:{name}" for name in _VITS.split()},
    **{name: f"sslight.backbones.torchvision:{name}" for name in _DROP_PATH.split()},
    **{name: f"sslight.backbones.torchvision:{name}" for name in _PLAIN.split()},
}
DROP_PATH_NAMES = frozenset(_DROP_PATH.split())


def builder(name: str) -> Callable[..., Any]:
    """The function that builds ``name``: explicit keyword arguments, nothing hidden.

    ``timm/<model>`` is timm's model of that name.

    Raises:
        ValueError: the name is unknown; the message has the nearest known ones.
    """
    if name.startswith("timm/"):
        return bind(importlib.import_module("sslight.backbones.timm").timm_backbone, name)
    if name not in BACKBONES:
        raise ValueError(
            f"Unknown backbone {name!r}.{did_you_mean(name, BACKBONES)} `sslight list backbones` "
            "shows every name; timm's models are written timm/<model>."
        )
    module, attribute = BACKBONES[name].split(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    return function


def backbone(name: str, **kwargs: Any) -> Any:
    """Build a backbone by name: ``backbone("resnet18", stem="small")``.

    The keyword arguments are those of :func:`builder`'s result; an unknown one is a ``TypeError``
    that lists them. The result has ``embed_dim`` and maps ``[B, C, H, W]`` to ``[B, D]``.
    """
    return builder(name)(**kwargs)


__all__ = ["BACKBONES", "backbone", "builder"]
