"""Heads: small networks on top of a backbone's embedding."""

from __future__ import annotations

from torch import nn


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
    """
    if layers < 1:
        raise ValueError(f"mlp: layers is {layers}; use 1 (a linear layer) or more.")
    parts: list[nn.Module] = []
    width = in_dim
    for _ in range(layers - 1):
        parts.append(nn.Linear(width, hidden_dim, bias=not bn))
        parts.extend([nn.BatchNorm1d(hidden_dim)] if bn else [])
        parts.append(nn.ReLU(inplace=True))
        width = hidden_dim
    parts.append(nn.Linear(width, out_dim, bias=last_bias and not last_bn))
    parts.extend([nn.BatchNorm1d(out_dim, affine=last_affine)] if last_bn else [])
    return nn.Sequential(*parts)
