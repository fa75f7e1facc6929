"""The last feature map of a backbone, beside its embedding, in one forward."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from sslight.backbones.inputs import image_channels
from sslight.backbones.layers import resolve_layers
from sslight.backbones.protocol import SIZES, weightless


class MapReader:
    """Runs a backbone for its embedding ``[B, D]`` and a feature map ``[B, channels, h, w]``.

    Unlike :class:`sslight.backbones.layers.LayerReader` it may be used in training with gradcache,
    where the backbone runs over chunks of images: their maps are put together again.

    Args:
        backbone: The network.
        layer: Name of the layer that gives the map, as in ``extract.layers``; None for the last
            layer that gives one. Of transformers it is the last layer of tokens, without the
            prefix tokens.

    Raises:
        ValueError: There is no layer of that name, or none that gives a map.
    """

    def __init__(self, backbone: nn.Module, layer: str | None = None) -> None:
        self.backbone = backbone
        self._n_prefix = int(getattr(backbone, "n_prefix", 0))
        self._nhwc = tuple(getattr(backbone, "nhwc_layers", ()))
        wanted = None if layer is None else resolve_layers(backbone, {layer: "none"})[0].path
        self.path, self.channels = self._find(wanted)

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Run once; both carry gradients."""
        found: list[Tensor] = []
        module = self.backbone.get_submodule(self.path)
        hook = module.register_forward_hook(lambda module, inputs, out: found.append(out))
        try:
            embedding = self.backbone(images)
        finally:
            hook.remove()
        return embedding, torch.cat([self._map(self.path, out) for out in found])

    def _find(self, wanted: str | None) -> tuple[str, int]:
        """Return path and channels of the layer, found by running a copy without weights."""
        size = getattr(self.backbone, "image_size", None)
        for copied, device in weightless(self.backbone):
            for side in [size] if isinstance(size, int) else SIZES:
                images = torch.zeros(2, image_channels(self.backbone), side, side, device=device)
                found = self._maps(copied, images)
                chosen = [path for path in found if wanted in (None, path)]
                if chosen:
                    return chosen[-1], found[chosen[-1]]
        where = "" if wanted is None else f" at {wanted!r}"
        raise ValueError(
            f"{type(self.backbone).__name__} has no feature map{where}: a layer that returns "
            "[B, C, h, w] with h and w above 1, or patch tokens. Use a convolutional network or a "
            "vision transformer, or name another layer."
        )

    def _maps(self, copied: nn.Module, images: Tensor) -> dict[str, int]:
        """Channels of every layer that gives a map, in the order in which they finish."""
        found: dict[str, int] = {}

        def note(path: str, out: Any) -> None:
            if self._is_map(out):
                found.pop(path, None)
                found[path] = self._map(path, out).shape[1]

        for path, module in copied.named_modules():
            module.register_forward_hook(lambda m, inputs, out, path=path: note(path, out))
        try:
            with torch.no_grad():
                copied(images)
        except Exception:  # a user's module may raise anything; the next size is tried
            return {}
        return found

    def _is_map(self, out: Any) -> bool:
        if not isinstance(out, Tensor):
            return False
        if hasattr(self.backbone, "tokens"):
            patches = out.shape[1] - self._n_prefix if out.ndim == 3 else 0
            return patches > 1 and math.isqrt(patches) ** 2 == patches
        return out.ndim == 4 and min(out.shape[1:]) > 1

    def _map(self, path: str, out: Tensor) -> Tensor:
        if out.ndim == 3:
            patches = out[:, self._n_prefix :].transpose(1, 2)  # [B, D, P]
            side = math.isqrt(patches.shape[2])
            return patches.reshape(*patches.shape[:2], side, side)
        if self._nhwc and path.startswith(self._nhwc):
            return out.permute(0, 3, 1, 2)
        return out
