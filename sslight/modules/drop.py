"""Dropout and drop path, switched off in a network that trains otherwise."""

from __future__ import annotations

from typing import TypeVar

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

M = TypeVar("M", bound=nn.Module)

#: Classes of such layers, torchvision's, timm's and ours, and what they call their rate.
_LAYERS = ("StochasticDepth", "DropPath", "MultiheadAttention")
_RATES = ("p", "rate", "drop_prob", "dropout")


def without_drop(network: M) -> M:
    """Set the rate of every dropout and drop path inside ``network`` to 0, in place.

    A teacher computes with all of its layers, while its batch norms train along: eval mode would
    stop both.

    Returns:
        The same network.
    """
    for module in network.modules():
        if isinstance(module, _DropoutNd) or type(module).__name__ in _LAYERS:
            for rate in _RATES:
                if hasattr(module, rate):
                    setattr(module, rate, 0.0)
    return network
