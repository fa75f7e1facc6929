"""How deep a parameter sits in its backbone: what layer-wise learning rate decay needs."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: A numbered block of a transformer or stage of a network, anywhere in a parameter's name:
#: blocks.3. | layers.3. | stages.3. | encoder_layer_3. (torchvision's ViT) count from 0,
#: layer3. (ResNet) counts from 1.
_FROM_ZERO = re.compile(
    r"(?:^|\.)(?:blocks|layers|stages|features)\.(\d+)\.|(?:^|\.)encoder_layer_(\d+)\."
)
_FROM_ONE = re.compile(r"(?:^|\.)layer(\d+)\.")


def layer_depths(names: Sequence[str]) -> tuple[list[int], int]:
    """Depth of each parameter of a backbone, given in the order of registration, and L.

    What comes before the first numbered block (patch embedding, class token, stem) has depth 0,
    block i from 0 has i + 1, a ResNet's ``layerN`` has N, and what follows (the last norm) has L,
    the deepest block's depth.

    Raises:
        ValueError: No name holds a numbered block.
    """
    numbered = [_block(name) for name in names]
    known = [depth for depth in numbered if depth is not None]
    if not known:
        raise ValueError(
            "optim.layer_decay needs numbered blocks in the backbone (blocks.0, layers.0, stages.0 "
            f"or layer1 ...); found parameters such as {', '.join(names[:4]) or 'none'}. "
            "Use groups with lr_scale instead."
        )
    deepest, first = max(known), next(i for i, d in enumerate(numbered) if d is not None)
    loose = [0 if i < first else deepest for i in range(len(names))]
    depths = [loose[i] if d is None else d for i, d in enumerate(numbered)]
    return depths, deepest


def _block(name: str) -> int | None:
    found = _FROM_ZERO.search(name)
    if found:
        return int(found[1] or found[2]) + 1
    found = _FROM_ONE.search(name)
    return int(found[1]) if found else None
