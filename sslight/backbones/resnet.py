"""ResNets (also ResNeXt and wide): torchvision's, with small stems, any width and any channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from torch import Tensor, nn
from torchvision.models import resnet as tv
from torchvision.models.resnet import Bottleneck

from sslight.backbones.common import finish, load_torchvision_weights
from sslight.backbones.spec import bind, check_extra

Stem = Literal["imagenet", "small", "stride2", "solo"]

#: name: block, blocks per stage, groups, width per group
ARCHITECTURES: dict[str, tuple[Any, list[int], int, int]] = {
    "resnet10": (tv.BasicBlock, [1, 1, 1, 1], 1, 64),
    "resnet18": (tv.BasicBlock, [2, 2, 2, 2], 1, 64),
    "resnet34": (tv.BasicBlock, [3, 4, 6, 3], 1, 64),
    "resnet50": (Bottleneck, [3, 4, 6, 3], 1, 64),
    "resnet101": (Bottleneck, [3, 4, 23, 3], 1, 64),
    "resnet152": (Bottleneck, [3, 8, 36, 3], 1, 64),
    "resnext50_32x4d": (Bottleneck, [3, 4, 6, 3], 32, 4),
    "resnext101_32x8d": (Bottleneck, [3, 4, 23, 3], 32, 8),
    "resnext101_64x4d": (Bottleneck, [3, 4, 23, 3], 64, 4),
    "wide_resnet50_2": (Bottleneck, [3, 4, 6, 3], 1, 128),
    "wide_resnet101_2": (Bottleneck, [3, 4, 23, 3], 1, 128),
}
# name: kernel, stride, padding, whether max-pooling follows
_STEMS = {
    "imagenet": (7, 2, 3, True),
    "small": (3, 1, 1, False),
    "stride2": (3, 2, 1, False),
    "solo": (3, 1, 2, False),
}


class ResNet(tv.ResNet):  # type: ignore[misc]
    """torchvision's ResNet with ``width`` channels in its first stage (64 in the paper).

    Parameter names are torchvision's, so that its weights load.
    """

    def __init__(self, block: Any, layers: list[int], *, width: int = 64, **options: Any):
        self._width = width  # read by _make_layer, which the parent's constructor calls
        super().__init__(block, layers, **options)

    def _make_layer(
        self, block: Any, planes: int, blocks: int, stride: int = 1, dilate: bool = False
    ) -> nn.Sequential:
        if not hasattr(self, "layer1"):
            self.inplanes = self._width
        planes = planes * self._width // 64
        stage: nn.Sequential = super()._make_layer(block, planes, blocks, stride, dilate)
        return stage

    def set_stem(self, stem: Stem, in_channels: int) -> None:
        """First convolution and pooling: ImageNet's, or 3x3 of stride 1 or 2 without pooling."""
        kernel, stride, padding, pooled = _STEMS[stem]
        self.conv1 = nn.Conv2d(in_channels, self._width, kernel, stride, padding, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.bn1 = self._norm_layer(self._width)
        if not pooled:
            self.maxpool = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Images ``[B, C, H, W]`` to embeddings ``[B, D]``."""
        out: Tensor = super().forward(x)
        return out


def resnet(
    arch: str,
    *,
    stem: Stem = "imagenet",
    in_channels: int = 3,
    width: int = 64,
    zero_init_residual: bool = False,
    weights: str | None = None,
    checkpoint_blocks: int = 0,
    extra: dict[str, Any] | None = None,
) -> nn.Module:
    """A ResNet without its classifier.

    Args:
        arch: Name of the architecture.
        stem: ``imagenet`` (7x7 stride 2, max-pool), ``small`` (3x3 stride 1, no max-pool; for
            32 px images), ``stride2`` (3x3 stride 2, no max-pool), ``solo`` (``small`` padded by 2
            pixels, as solo-learn's; for its weights and recipes).
        in_channels: Channels of the images.
        width: Channels of the first stage; 64 is the paper's, less makes a narrow, quick network.
        zero_init_residual: Start every residual branch at zero (Goyal et al., 2017).
        weights: A torchvision weights name such as ``IMAGENET1K_V2``; ``None`` starts at random.
        checkpoint_blocks: Recompute the activations of this many blocks (0 = keep all).
        extra: Further arguments of ``torchvision.models.resnet.ResNet``.
    """
    if stem not in _STEMS:
        raise ValueError(f"backbone {arch!r}: stem={stem!r} is none of {', '.join(_STEMS)}.")
    if width < 1 or in_channels < 1:
        raise ValueError(f"backbone {arch!r}: width={width}, in_channels={in_channels}: both >= 1.")
    check_extra(f"backbone {arch!r}", tv.ResNet.__init__, extra)
    block, layers, groups, per_group = ARCHITECTURES[arch]
    options = {"groups": groups, "width_per_group": per_group, "num_classes": 1, **(extra or {})}
    model = ResNet(block, layers, width=width, zero_init_residual=zero_init_residual, **options)
    model.set_stem(stem, in_channels)
    embed_dim = model.fc.in_features if width == 64 else 8 * width * block.expansion
    model.fc = nn.Identity()
    load_torchvision_weights(model, arch, weights)
    return finish(model, embed_dim, checkpoint_blocks)


def __getattr__(name: str) -> Callable[..., nn.Module]:
    if name not in ARCHITECTURES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return bind(resnet, name)
