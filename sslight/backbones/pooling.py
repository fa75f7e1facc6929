"""From tokens to the embedding that a transformer's ``forward`` gives."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def pooled(backbone: Any, tokens: Tensor) -> Tensor:
    """Pool tokens ``[B, N, D]`` after the last norm into ``[B, D]``, as ``forward`` would.

    For a method that has run ``tokens`` already and needs the embedding too. timm's transformers
    pool by their own head; one that does not say how it pools gives its first token.
    """
    if hasattr(backbone, "forward_head"):
        embedding: Tensor = backbone.forward_head(tokens, pre_logits=True)
        return embedding
    if getattr(backbone, "pooling", "cls") == "avg":
        return tokens[:, backbone.n_prefix :].mean(1)
    return tokens[:, 0]
