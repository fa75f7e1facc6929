"""Dropout and drop path, switched off in a network that trains otherwise."""

from __future__ import annotations

from typing import TypeVar

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

M = TypeVar("M", bound=nn.Module)

#: Where a layer keeps its rate, by the name of its class (torchvision's, timm's, ours).
_RATES = {"StochasticDepth": "p", "DropPath": "drop_prob", "MultiheadAttention": "dropout"}


def without_drop(network: M) -> M:
    """Set the rate of every dropout and drop path inside ``network`` to 0, in place.

    A teacher computes with all of its layers, while its batch norms train along: eval mode would
    stop both.

    Returns:
        The same network.
    """
    for module in network.modules():
        rate = "p" if isinstance(module, _DropoutNd) else _RATES.get(type(module).__name__)
        if rate is not None:
            setattr(module, rate, 0.0)
    return network
