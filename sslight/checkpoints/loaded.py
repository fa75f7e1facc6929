"""A backbone ready to embed images: the network and the view it is to be fed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sslight.backbones.layers import LayerReader
from sslight.backbones.spec import spec_of
from sslight.checkpoints.images import Images, as_pixels
from sslight.checkpoints.report import LoadReport
from sslight.checkpoints.views import own_view


class LoadedBackbone(nn.Module):
    """A backbone in eval mode with the view it is to be fed.

    Attributes:
        backbone: The network itself.
        view: Spec of the evaluation view.
        embed_dim: Width of the embeddings.
        source: Where it came from.
        meta: What its writer kept (run, step, method, ...).
        report: What became of every tensor of the file; None for a module.
    """

    def __init__(
        self,
        backbone: nn.Module,
        view: Any = None,
        *,
        source: str = "",
        meta: Mapping[str, Any] | None = None,
        report: LoadReport | None = None,
    ):
        super().__init__()
        self.backbone = backbone.eval()
        self.view = view if view is not None else _default_view(backbone)
        self.embed_dim = int(backbone.embed_dim)  # type: ignore[arg-type]
        self.source, self.meta, self.report = source, dict(meta or {}), report
        self.backbone_spec = spec_of(backbone)

    def __repr__(self) -> str:
        name = self.backbone_spec.name if self.backbone_spec else type(self.backbone).__name__
        origin = f" from {self.source}" if self.source else ""
        view = f"images of {self.view.size} px" if self.view is not None else "images"
        return f"LoadedBackbone({name}{origin}: {view} to {self.embed_dim} numbers)"

    def forward(self, images: Tensor) -> Tensor:
        """Normalised float images ``[B, C, H, W]`` to embeddings ``[B, D]``."""
        out: Tensor = self.backbone(images)
        return out

    def transform(self, images: Images) -> Tensor:
        """Images as :meth:`embed` takes them to the network's input ``[N, C, H, W]``."""
        from sslight.augment.views import make_views

        maker = make_views([self.view], seed=0)
        pixels = as_pixels(images)
        batch = maker.fetch(pixels, 0, torch.arange(len(pixels)))
        views: list[Tensor] = maker.apply(_to(batch, self._device()))["views"]
        return views[0]

    def embed(
        self,
        images: Images,
        *,
        batch_size: int = 64,
        layers: Mapping[str, str] | Sequence[str] | None = None,
    ) -> Any:
        """Embeddings ``[N, D]`` of images, on the CPU; with ``layers`` a dict of features.

        Args:
            images: Paths, PIL images, uint8 tensors ``[C, H, W]`` of any sizes (a list or one), or
                one uint8 tensor ``[N, C, H, W]``.
            batch_size: Images per forward.
            layers: As in :func:`sslight.backbones.layers.resolve_layers`.
        """
        items = images if isinstance(images, Sequence | Tensor) else [images]
        if isinstance(images, str) or (isinstance(images, Tensor) and images.ndim == 3):
            items = [images]
        reader = LayerReader(self.backbone, layers)
        self.backbone.eval()
        parts = []
        with torch.inference_mode():
            for start in range(0, len(items), batch_size):
                features = reader(self.transform(items[start : start + batch_size]))
                parts.append({k: v.float().cpu() for k, v in features.items()})
        if not parts:
            raise ValueError("embed: no images were given.")
        # Made outside inference mode, so that a caller may train on them.
        joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        return joined if layers is not None else joined[reader.layers[0].name]

    def _device(self) -> torch.device:
        tensors = [*self.backbone.parameters(), *self.backbone.buffers()]
        return tensors[0].device if tensors else torch.device("cpu")


def _default_view(backbone: nn.Module) -> Any:
    """The view that the network's library says, else the clean one at its image size."""
    from sslight.augment.presets import PRESETS

    size = getattr(getattr(backbone, "patch_embed", None), "img_size", (224,))[0]
    return own_view(backbone) or PRESETS["eval"](size=size)[0]


def _to(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {k: _to(v, device) for k, v in value.items()}
    return [_to(v, device) for v in value] if isinstance(value, list) else value
