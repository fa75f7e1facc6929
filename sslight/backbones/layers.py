"""Features of inner layers by name, pooled, several in one forward."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sslight.backbones.pooling import check_pooling, pool, pool_map
from sslight.backbones.spec import did_you_mean

EMBEDDING = "embedding"  # the backbone's own output
_VECTORS = ("avgpool", "global_pool")  # these give [B, D] although torch says [B, D, 1, 1]

_LAST_NORMS = ("norm", "encoder.ln")  # of transformers: ours and timm's, torchvision's

# Families, recognised by sub-modules they must have, and VISSL's names for their layers.
_FAMILIES: tuple[tuple[tuple[str, ...], dict[str, str]], ...] = (
    (
        ("conv1", "layer1", "layer4", "avgpool"),
        {
            "conv1": "relu", "res1": "maxpool", "res2": "layer1", "res3": "layer2",
            "res4": "layer3", "res5": "layer4", "res5avg": "avgpool",
        },
    ),
    (
        ("conv1", "layer1", "layer4", "global_pool"),
        {
            "conv1": "act1", "res1": "maxpool", "res2": "layer1", "res3": "layer2",
            "res4": "layer3", "res5": "layer4", "res5avg": "global_pool",
        },
    ),
    (
        ("stem", "trunk_output.block1", "avgpool"),
        {
            "conv1": "stem", "res2": "trunk_output.block1", "res3": "trunk_output.block2",
            "res4": "trunk_output.block3", "res5": "trunk_output.block4",
        },
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """One layer to read: ``name`` in the result, ``path`` of the sub-module, ``pooling``.

    An empty ``path`` is the backbone's own output.
    """

    name: str
    path: str
    pooling: str = "none"


def resolve_layers(
    backbone: nn.Module, layers: Mapping[str, str] | Sequence[str] | None = None
) -> list[Layer]:
    """Find layers by name.

    Args:
        backbone: The network they belong to.
        layers: ``{"res4": "avg"}``, or ``["res4", "res5:max"]`` (``avg`` where no pooling is
            given), or ``None`` for the backbone's own output (``embedding``). A name is
            ``embedding``, VISSL's ``conv1 res1 ... res5 res5avg`` for ResNets, ``block<i>`` and
            ``tokens`` (after the last norm) for transformers, or the path of any sub-module.
            Poolings are those of :func:`sslight.backbones.pooling.pool`.

    Raises:
        ValueError: an unknown layer or pooling, with the nearest known ones.
    """
    if layers is None:
        return [Layer(EMBEDDING, "", "none")]
    if isinstance(layers, Mapping):
        pairs = list(layers.items())
    else:
        pairs = [(n, p or "avg") for n, _, p in (text.partition(":") for text in layers)]
    repeated = {name for name, _ in pairs if sum(name == n for n, _ in pairs) > 1}
    found = []
    for name, pooling in pairs:
        pooling = pooling or "none"
        check_pooling(name, pooling)
        label = f"{name}-{pooling}" if name in repeated else name
        found.append(Layer(label, _path(backbone, name), pooling))
    if not found:
        raise ValueError("layers is empty: name at least one, or leave it out for `embedding`.")
    return found


def layer_names(backbone: nn.Module) -> list[str]:
    """Every name :func:`resolve_layers` knows for this backbone, the short ones first."""
    paths = [path for path, _ in backbone.named_modules() if path]
    return [EMBEDDING, *_aliases(backbone), *paths]


def _path(backbone: nn.Module, name: str) -> str:
    if name == EMBEDDING:
        return ""
    path = _aliases(backbone).get(name, name)
    if path not in dict(backbone.named_modules()):
        known = layer_names(backbone)
        raise ValueError(
            f"{type(backbone).__name__} has no layer {name!r}.{did_you_mean(name, known)} "
            f"Short names: {', '.join(known[: 1 + len(_aliases(backbone))])}; any path of "
            f"named_modules() works too, e.g. {known[-1]!r}."
        )
    return path


def _aliases(backbone: nn.Module) -> dict[str, str]:
    modules = dict(backbone.named_modules())
    for required, names in _FAMILIES:
        if all(path in modules for path in required):
            return names
    blocks = ("encoder.layers.encoder_layer_", "blocks.")  # torchvision's and timm's transformers
    found = {}
    for path in modules:
        for prefix in blocks:
            if path.startswith(prefix) and path.removeprefix(prefix).isdigit():
                found[f"block{path.removeprefix(prefix)}"] = path
    last = next((path for path in _LAST_NORMS if path in modules), None)
    return {**found, "tokens": last} if found and last else found


class LayerReader:
    """Runs a backbone and returns the features of chosen layers, ``{name: tensor}``.

    Hooks exist only during a call: the backbone is unchanged before and after, and its gradients,
    mode and device are the caller's. A sub-module that runs several times gives its last output.

    Args:
        backbone: The network.
        layers: As in :func:`resolve_layers`.
        maps: Leave what grids and windows give as maps ``[B, C, h, w]`` in place of flattening.
    """

    def __init__(
        self,
        backbone: nn.Module,
        layers: Mapping[str, str] | Sequence[str] | None = None,
        *,
        maps: bool = False,
    ):
        self.backbone = backbone
        self._pool = pool_map if maps else pool
        self.layers = resolve_layers(backbone, layers)
        self._nhwc = tuple(getattr(backbone, "nhwc_layers", ()))
        self._n_prefix = int(getattr(backbone, "n_prefix", 0))

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """One forward; each feature ``[B, ...]`` after its pooling."""
        caught: dict[str, Tensor] = {}
        modules = dict(self.backbone.named_modules())
        hooks = [
            modules[layer.path].register_forward_hook(self._catch(layer, caught))
            for layer in self.layers
            if layer.path
        ]
        try:
            embedding = self.backbone(images)
        finally:
            for hook in hooks:
                hook.remove()
        for layer in self.layers:
            if not layer.path:
                caught[layer.name] = self._pool(embedding, layer.pooling, self._n_prefix)
            elif layer.name not in caught:
                raise ValueError(f"layer {layer.path!r} did not run in the backbone's forward.")
        return {layer.name: caught[layer.name] for layer in self.layers}

    def _catch(self, layer: Layer, caught: dict[str, Tensor]) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            caught[layer.name] = self._finish(layer, output)

        return hook

    def _finish(self, layer: Layer, value: Any) -> Tensor:
        """Pool at once: what follows in the network may overwrite ``value`` in place."""
        if not isinstance(value, Tensor):
            raise TypeError(
                f"layer {layer.path!r} returns {type(value).__name__}, not a tensor; name one of "
                "its sub-modules or the module after it."
            )
        if value.ndim == 4 and self._nhwc and layer.path.startswith(self._nhwc):
            value = value.permute(0, 3, 1, 2)
        if value.ndim == 4 and layer.path in _VECTORS:
            value = torch.flatten(value, 1)
        pooled = self._pool(value, layer.pooling, self._n_prefix)
        shares = value.ndim == 2 or layer.pooling in ("none", "flatten", "cls", "tokens")
        return pooled.clone() if shares else pooled
