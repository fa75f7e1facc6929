"""The parts of a vision transformer: attention, MLPs, layer scale, stochastic depth, the block.

Names and arithmetic are those of timm's ``VisionTransformer``, so weights go both ways by name.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Epsilon of every layer norm: timm's, torchvision's, DINO's and MAE's (torch's default is 1e-5).
NORM_EPS = 1e-6

MlpKind = Literal["gelu", "swiglu"]


class DropPath(nn.Module):
    """Stochastic depth (Huang et al., 2016, arXiv:1603.09382): leave a branch out for a sample.

    In training a sample ``[B, ...]`` is set to 0 with probability ``rate`` and otherwise divided by
    ``1 - rate``; in evaluation nothing happens.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"drop_path is {rate}; it is a probability in [0, 1).")
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Drop samples of ``[B, ...]``."""
        if self.rate == 0 or not self.training:
            return x
        kept = 1 - self.rate
        mask = x.new_empty((len(x), *[1] * (x.ndim - 1))).bernoulli_(kept)
        return x * (mask / kept)

    def extra_repr(self) -> str:
        """Show the rate."""
        return f"{self.rate:.3g}"


class LayerScale(nn.Module):
    """A learnt factor per channel (Touvron et al., 2021, arXiv:2103.17239)."""

    def __init__(self, dim: int, initial: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), initial))

    def forward(self, x: Tensor) -> Tensor:
        """Scale ``[..., D]``."""
        return x * self.gamma


class Attention(nn.Module):
    """Multi-head self-attention; one linear layer makes queries, keys and values, in that order."""

    def __init__(
        self, dim: int, heads: int, dropout: float = 0.0, attention_drop: float = 0.0
    ) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"transformer: the width {dim} is not a multiple of {heads} heads.")
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.attn_drop = nn.Dropout(attention_drop)  # holds the rate: attention itself drops
        self.proj = nn.Linear(dim, dim)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Mix the tokens of ``[B, N, D]``; those not ``valid`` ``[B, N]`` are not looked at."""
        batch, tokens, dim = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, dim // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # [B, heads, N, D / heads] each
        mask = None if valid is None else valid[:, None, None, :]
        rate = self.attn_drop.p if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=rate)
        out: Tensor = self.drop(self.proj(mixed.transpose(1, 2).reshape(batch, tokens, dim)))
        return out


class Mlp(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, dim: int, hidden_dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[..., D]`` to ``[..., D]``."""
        out: Tensor = self.drop(self.fc2(self.drop(F.gelu(self.fc1(x)))))
        return out


class SwiGLU(nn.Module):
    """A gated MLP (Shazeer, 2020, arXiv:2002.05202): ``fc2(silu(a) * b)`` with ``a, b = fc1(x)``.

    As in DINOv2 the hidden width is two thirds of ``hidden_dim``, rounded up to a multiple of 8, so
    that it has about as many parameters as :class:`Mlp`.
    """

    def __init__(self, dim: int, hidden_dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        width = (2 * hidden_dim // 3 + 7) // 8 * 8
        self.fc1 = nn.Linear(dim, 2 * width)
        self.fc2 = nn.Linear(width, dim)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[..., D]`` to ``[..., D]``."""
        gate, value = self.fc1(x).chunk(2, dim=-1)
        out: Tensor = self.drop(self.fc2(self.drop(F.silu(gate) * value)))
        return out


class Block(nn.Module):
    """A transformer layer with norms first: ``x + attention(norm(x))``, then ``x + mlp(norm(x))``.

    Args:
        dim: Width of the tokens.
        heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over ``dim``.
        dropout: Rate behind the attention and each linear layer of the MLP.
        attention_drop: Rate of the attention's weights.
        drop_path: Stochastic-depth rate of both branches.
        layer_scale: Initial factor of both branches; None for no such factor.
        mlp: Kind of MLP.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        mlp_ratio: int = 4,
        dropout: float = 0.0,
        attention_drop: float = 0.0,
        drop_path: float = 0.0,
        layer_scale: float | None = None,
        mlp: MlpKind = "gelu",
    ) -> None:
        super().__init__()

        def scale() -> nn.Module:
            return nn.Identity() if layer_scale is None else LayerScale(dim, layer_scale)

        kind = Mlp if mlp == "gelu" else SwiGLU
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = Attention(dim, heads, dropout, attention_drop)
        self.ls1 = scale()
        self.drop_path1 = DropPath(drop_path)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = kind(dim, dim * mlp_ratio, dropout)
        self.ls2 = scale()
        self.drop_path2 = DropPath(drop_path)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Map tokens ``[B, N, D]`` to ``[B, N, D]``; ``valid`` as in :class:`Attention`."""
        x = x + self.drop_path1(self.ls1(self.attn(self.norm1(x), valid)))
        out: Tensor = x + self.drop_path2(self.ls2(self.mlp(self.norm2(x))))
        return out


def init_linear(module: nn.Module) -> None:
    """Start linear layers as timm, DINO and BEiT do; for ``module.apply``.

    Weights are normal with deviation 0.02, cut off at 2 (which for that deviation is never), and
    biases 0. That is meant for widths of some hundreds: blocks much narrower hardly change what
    they are given, and it takes a while until they do; see :func:`init_xavier`.
    """
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


def init_xavier(module: nn.Module) -> None:
    """Start linear layers as MAE does: Xavier-uniform weights, so that any width passes on as much.

    Their deviation is 0.036 for the layer of queries, keys and values at width 768, and 0.10 at 96.
    """
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
