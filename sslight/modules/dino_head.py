"""The heads of DINO, iBOT and DINOv2: a narrow bottleneck on the sphere, then many prototypes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DINOHead(nn.Sequential):
    """A head ``[..., in_dim] -> [..., out_dim]`` (arXiv:2104.14294, appendix C).

    Three linear layers with GELU between them lead to a bottleneck; its output is normalised to
    length 1, and the last layer compares it with ``out_dim`` prototypes.

    Args:
        in_dim: Width of the input.
        hidden_dim: Width of the two hidden layers.
        bottleneck_dim: Width of the bottleneck.
        out_dim: Number of prototypes.
        bn: Batch norm after each hidden layer; the rows must then be ``[B, in_dim]``.
        norm_last_layer: Keep prototypes at length 1. Otherwise each learns its length, which the
            paper found to be better, and less stable.
    """

    def __init__(
        self,
        in_dim: int,
        hidden_dim: int = 2048,
        bottleneck_dim: int = 256,
        out_dim: int = 65536,
        *,
        bn: bool = False,
        norm_last_layer: bool = True,
    ) -> None:
        super().__init__()
        width = in_dim
        for k in range(2):
            self.add_module(f"linear{k}", nn.Linear(width, hidden_dim, bias=not bn))
            if bn:
                self.add_module(f"norm{k}", nn.BatchNorm1d(hidden_dim))
            self.add_module(f"gelu{k}", nn.GELU())
            width = hidden_dim
        self.add_module("bottleneck", nn.Linear(hidden_dim, bottleneck_dim))
        for layer in self:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        self.add_module(
            "last_layer", UnitLinear(bottleneck_dim, out_dim, learn=not norm_last_layer)
        )


class UnitLinear(nn.Module):
    """Scalar products of normalised rows ``[..., dim]`` with weight-normalised prototypes.

    Args:
        dim: Width of rows and prototypes.
        count: Number of prototypes.
        learn: Learn the prototypes' lengths, from 1; otherwise they stay 1.
    """

    length: nn.Parameter | None

    def __init__(self, dim: int, count: int, *, learn: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(count, dim))
        nn.init.uniform_(self.weight, -(dim**-0.5), dim**-0.5)  # nn.Linear's
        self.register_parameter("length", nn.Parameter(torch.ones(count, 1)) if learn else None)

    def forward(self, rows: Tensor) -> Tensor:
        """Compute logits ``[..., count]``."""
        prototypes = F.normalize(self.weight, dim=1)
        if self.length is not None:
            prototypes = self.length * prototypes
        return F.linear(F.normalize(rows, dim=-1), prototypes)


class TokenHeads(nn.Module):
    """A head for class tokens and one for patch tokens; or one head for both.

    Args:
        in_dim: As of :class:`DINOHead`, and so are the next four.
        hidden_dim: Of both heads.
        bottleneck_dim: Of both heads.
        out_dim: Of both heads.
        shared: One head for both kinds of tokens (iBOT, arXiv:2111.07832, section 3.1).
        norm_last_layer: Of both heads.
    """

    def __init__(
        self,
        in_dim: int,
        hidden_dim: int = 2048,
        bottleneck_dim: int = 256,
        out_dim: int = 8192,
        *,
        shared: bool = False,
        norm_last_layer: bool = True,
    ) -> None:
        super().__init__()

        def head() -> DINOHead:
            sizes = in_dim, hidden_dim, bottleneck_dim, out_dim
            return DINOHead(*sizes, norm_last_layer=norm_last_layer)

        self.cls, self.patch = head(), None if shared else head()

    def forward(self, cls: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Map class tokens ``[B, D]`` and patch tokens ``[N, D]`` to logits."""
        patch_head = self.cls if self.patch is None else self.patch
        return self.cls(cls), patch_head(patches)
