"""Heads: small networks on top of a backbone's embedding."""

from __future__ import annotations

import math

from torch import Tensor, nn


def mlp(
    in_dim: int,
    hidden_dim: int,
    out_dim: int,
    layers: int = 2,
    *,
    bn: bool = True,
    last_bn: bool = False,
    last_bias: bool = True,
    last_affine: bool = True,
    gelu: bool = False,
) -> nn.Sequential:
    """Build a multi-layer perceptron ``[B, in_dim] -> [B, out_dim]``.

    ``layers - 1`` times linear, batch norm, ReLU; then a linear layer, and a batch norm if asked. A
    linear layer that a batch norm follows has no bias (the norm would subtract it).

    Args:
        in_dim: Width of the input.
        hidden_dim: Width of every hidden layer.
        out_dim: Width of the output.
        layers: Linear layers in all, 1 or more.
        bn: Batch norm after each hidden layer.
        last_bn: Batch norm after the last layer.
        last_bias: Bias in the last layer, where no batch norm follows it.
        last_affine: Learn the scale and shift of the last batch norm.
        gelu: GELU in place of ReLU.
    """
    if layers < 1:
        raise ValueError(f"mlp: layers is {layers}; use 1 (a linear layer) or more.")
    parts: list[nn.Module] = []
    width = in_dim
    for _ in range(layers - 1):
        parts.append(nn.Linear(width, hidden_dim, bias=not bn))
        parts.extend([nn.BatchNorm1d(hidden_dim)] if bn else [])
        parts.append(nn.GELU() if gelu else nn.ReLU(inplace=True))
        width = hidden_dim
    parts.append(nn.Linear(width, out_dim, bias=last_bias and not last_bn))
    parts.extend([nn.BatchNorm1d(out_dim, affine=last_affine)] if last_bn else [])
    return nn.Sequential(*parts)


def conv_head(in_channels: int, hidden_dim: int, out_channels: int, depth: int) -> nn.Sequential:
    """Build a head on feature maps, ``[B, in_channels, h, w] -> [B, out_channels, h, w]``.

    ``depth`` times a 3 x 3 convolution, batch norm and ReLU, then a 1 x 1 convolution.

    Args:
        in_channels: Channels of the map.
        hidden_dim: Channels of every hidden layer.
        out_channels: Channels of the output.
        depth: Hidden layers, 0 or more.
    """
    if depth < 0:
        raise ValueError(f"conv_head: depth is {depth}; use 0 (a linear head) or more.")
    parts: list[nn.Module] = []
    width = in_channels
    for _ in range(depth):
        parts.append(nn.Conv2d(width, hidden_dim, 3, padding=1, bias=False))
        parts.extend([nn.BatchNorm2d(hidden_dim), nn.ReLU(inplace=True)])
        width = hidden_dim
    return nn.Sequential(*parts, nn.Conv2d(width, out_channels, 1))


class LinearHead(nn.Module):
    """A linear classifier of one layer's features, ``[B, *shape] -> [B, num_classes]``.

    Args:
        shape: ``(D,)``, or a map's ``(C, h, w)``, or tokens' ``(T, D)``.
        num_classes: Width of the output.
        bn: Normalise the features first, by batch norm over channels (a map's C, else D).
    """

    def __init__(self, shape: tuple[int, ...], num_classes: int, *, bn: bool = False) -> None:
        super().__init__()
        channels = shape[1] if len(shape) == 2 else shape[0]
        self.norm = nn.BatchNorm1d(channels) if bn else nn.Identity()
        self.linear = nn.Linear(math.prod(shape), num_classes)
        nn.init.normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Compute logits."""
        if features.ndim == 3:
            features = features.transpose(1, 2)  # tokens [B, T, D] -> [B, D, T]
        if features.ndim == 4:
            features = features.flatten(2)  # [B, C, h * w]
        logits: Tensor = self.linear(self.norm(features).flatten(1))
        return logits
