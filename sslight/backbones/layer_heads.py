"""Linear classifiers on several layers of a backbone at once, from one forward."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from sslight.backbones.inputs import image_channels
from sslight.backbones.layers import EMBEDDING, LayerReader, layer_names
from sslight.backbones.protocol import weightless
from sslight.modules.heads import LinearHead

#: Numbers that a pooled map may have: VISSL's maps have 8192 or 9216.
MAP_WIDTH = 9216

#: Behind a pooling: a batch norm stands before the linear layer.
BATCH_NORM = "+bn"


class LayerHeads(nn.Module):
    """A linear classifier on each of several layers (VISSL's linear protocol).

    ``features`` runs the backbone once and gives its embedding and all layers side by side, so that
    they can be computed without gradients, and put together from several forwards; calling the
    module with them gives the logits of every head. The backbone is not a part of this module.

    Args:
        backbone: The network.
        heads: Layers and their poolings, as in :func:`sslight.backbones.layers.resolve_layers`; a
            layer may come several times. ``avg_k6_s1+bn`` puts a batch norm before the linear
            layer, over the channels of the pooled map.
        image_size: Side of the images in pixels; it decides the width of pooled maps.
        num_classes: Classes of each head.
    """

    def __init__(
        self,
        backbone: nn.Module,
        heads: Mapping[str, str] | Sequence[str],
        image_size: int,
        num_classes: int,
    ) -> None:
        super().__init__()
        wanted = _parsed(heads)
        texts = [f"{EMBEDDING}:none", *(f"{layer}:{pooling}" for _, layer, pooling, _ in wanted)]
        layers = list(dict.fromkeys(texts))
        self._reader = LayerReader(backbone, layers, maps=True)
        self._shapes = layer_shapes(backbone, layers, image_size)
        self._source = {name: layers.index(f"{at}:{pooling}") for name, at, pooling, _ in wanted}
        self.image_size = image_size
        self.heads = nn.ModuleDict({
            name: LinearHead(self._shapes[self._source[name]], num_classes, bn=bn)
            for name, _, _, bn in wanted
        })  # fmt: skip

    @property
    def names(self) -> list[str]:
        """The heads' names: the layers', without dots, and with the pooling where one repeats."""
        return list(self.heads)

    def features(self, images: Tensor) -> Tensor:
        """Run the backbone: ``[B, embed_dim + the widths of all pooled layers]``."""
        if images.shape[-1] != self.image_size:
            raise ValueError(
                f"heads: the images are {images.shape[-1]} px, but image_size is "
                f"{self.image_size}, which decides the width of pooled maps. Make them equal."
            )
        found = list(self._reader(images).values())
        if any(len(feature) != len(images) for feature in found):
            raise ValueError("heads: the backbone ran over parts of the batch (gradcache?).")
        return torch.cat([feature.flatten(1) for feature in found], dim=1)

    def embedding(self, features: Tensor) -> Tensor:
        """The backbone's own output ``[B, D]`` in what :meth:`features` gave."""
        return features[:, : math.prod(self._shapes[0])]

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """Compute the logits ``[B, K]`` of each head from what :meth:`features` gave."""
        parts = torch.split(features, [math.prod(shape) for shape in self._shapes], dim=1)
        logits = {}
        for name, head in self.heads.items():
            at = self._source[name]
            logits[name] = head(parts[at].reshape(-1, *self._shapes[at]))
        return logits


def _parsed(heads: Mapping[str, str] | Sequence[str]) -> list[tuple[str, str, str, bool]]:
    """Name of the head, layer, pooling, whether there is a batch norm."""
    if isinstance(heads, Mapping):
        pairs = list(heads.items())
    else:
        pairs = [(layer, text or "avg") for layer, _, text in (h.partition(":") for h in heads)]
    layers = [layer for layer, _ in pairs]
    found = []
    for layer, text in pairs:
        pooling = text.removesuffix(BATCH_NORM)
        pooling = pooling or "none"
        found.append((_label(layer, text, layers.count(layer)), layer, pooling, BATCH_NORM in text))
    if not found or len({name for name, *_ in found}) < len(found):
        raise ValueError(f"heads: give one or more, each once; got {heads!r}.")
    return found


def _label(layer: str, text: str, times: int) -> str:
    """Name of a head: the layer, without dots, and what tells it from others on the same layer."""
    suffix = text.removeprefix("none") if times > 1 else ""
    return (layer + ("-" if suffix[:1].isalnum() else "") + suffix).replace(".", "_")


def layer_shapes(backbone: nn.Module, layers: list[str], image_size: int) -> list[tuple[int, ...]]:
    """Shapes of the layers, without the batch, found by running a copy without weights."""
    failure: Exception | None = None
    if not layers:
        return []
    for copied, device in weightless(backbone):
        images = torch.zeros(2, image_channels(backbone), image_size, image_size, device=device)
        try:
            with torch.no_grad():
                found = LayerReader(copied, layers, maps=True)(images)
        except Exception as error:  # a user's module may raise anything; a real copy is tried next
            failure = error
            continue
        return [tuple(feature.shape[1:]) for feature in found.values()]
    raise ValueError(f"heads: the layers could not be read at {image_size} px: {failure}")


def classic_heads(backbone: nn.Module, image_size: int, width: int = MAP_WIDTH) -> list[str]:
    """Choose the layers of the linear protocol, for :class:`LayerHeads`.

    A ResNet's stages, each averaged over the finest grid that gives no more than ``width`` numbers
    (at 224 px as many as VISSL's windows); a transformer's blocks at each quarter of its depth,
    averaged over their patches; and of every network its output. All have a batch norm, and the
    output comes without one too.
    """
    known = layer_names(backbone)
    stages = [name for name in ("conv1", "res2", "res3", "res4", "res5") if name in known]
    depth = sum(name.startswith("block") and name[5:].isdigit() for name in known)
    blocks = dict.fromkeys(f"block{max(depth * i // 4 - 1, 0)}" for i in (1, 2, 3, 4))
    heads = [f"{block}:avg{BATCH_NORM}" for block in blocks if depth and not stages]
    maps = layer_shapes(backbone, [f"{stage}:none" for stage in stages], image_size)
    for stage, (channels, *sides) in zip(stages, maps, strict=True):
        grid = max(1, min(math.isqrt(width // channels), *sides))
        heads.append(f"{stage}:avg{grid}{BATCH_NORM}")
    return [*heads, f"{EMBEDDING}:none{BATCH_NORM}", f"{EMBEDDING}:none"]
