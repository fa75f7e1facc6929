"""Colorization: predict the colours of an image from its lightness."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslight.backbones.inputs import see
from sslight.backbones.maps import MapReader
from sslight.errors import RefusedRunError
from sslight.losses.colorization import colorization_loss
from sslight.module import SSLModule
from sslight.modules.color_bins import ColorBins
from sslight.modules.heads import conv_head
from sslight.modules.lab import rgb_to_lab
from sslight.optim import Recipe
from sslight.types import Batch, StepOutput


class Colorization(SSLModule):
    """Colorization (Zhang et al., 2016, arXiv:1603.08511), section 2.

    Images are taken to CIE Lab. The backbone sees the lightness L; a convolutional head on its last
    feature map predicts, on a grid ``stride`` times coarser than the view, a distribution over bins
    of the colour plane ab. The loss is cross-entropy with soft-encoded targets, where pixels of
    rare colours weigh more (eq. 2 to 4).

    Evaluated is the backbone, which keeps seeing lightness: it takes RGB images in [0, 1] wherever
    it is used, and what is saved of it says so. ``train/accuracy`` is the share of pixels whose
    nearest bin is predicted.

    In a YAML: ``method: {name: colorization}`` with views from ``{name: colorization}``, which
    leave values in [0, 1]; the evaluation view follows them.

    Args:
        backbone: Maps images to ``[B, D]`` and has a feature map: any convolutional network or
            vision transformer, with one input channel or three (they get L three times).
        optim: The optimisation recipe.
        layer: Layer of the map, as in ``extract.layers``; None for the last one.
        stride: Side in pixels of the squares whose mean colour is predicted.
        decoder_dim: Channels of the head's hidden layers.
        decoder_depth: Number of them, 3 x 3 convolutions.
        neighbours: Bins that a target is spread over.
        sigma: Width of that spread, and of the smoothing of the prior.
        uniform: Lambda, the share of the uniform distribution in the prior that pixels are weighed
            by; 1 weighs all alike.

    Note:
        The prior is counted while training, over all batches so far, and not on the whole data in
        advance; the first batch weighs all pixels alike.

        There are 261 bins, see :class:`sslight.modules.color_bins.ColorBins`. The loss is the mean
        over pixels, not their sum. The paper's network keeps an eighth of the resolution; here the
        head's scores are enlarged from wherever the backbone's map is. Layers of the backbone
        behind the map are not trained.
    """

    accumulation: ClassVar[Literal["exact", "approximate"]] = "approximate"
    default_views: ClassVar[str] = "colorization"

    def __init__(
        self,
        backbone: nn.Module,
        optim: Recipe | None = None,
        *,
        layer: str | None = None,
        stride: int = 4,
        decoder_dim: int = 256,
        decoder_depth: int = 1,
        neighbours: int = 5,
        sigma: float = 5.0,
        uniform: float = 0.5,
    ) -> None:
        super().__init__(backbone, optim)
        if not (0 < uniform <= 1 and sigma > 0 and stride >= 1 and neighbours >= 1):
            raise ValueError(
                f"colorization: uniform is {uniform} (above 0, up to 1), sigma {sigma} (above 0), "
                f"stride {stride} and neighbours {neighbours} (1 or more)."
            )
        self.stride, self.neighbours, self.sigma, self.uniform = stride, neighbours, sigma, uniform
        self.reader = MapReader(self.backbone, layer)
        see(self.backbone, "lightness")
        self.bins = ColorBins()
        self.head = conv_head(self.reader.channels, decoder_dim, len(self.bins), decoder_depth)

    def setup(self, stage: str) -> None:
        """Refuse views that are normalised: their colours cannot be told."""
        super().setup(stage)
        data: Any = self._datamodule
        if hasattr(data, "maker") and hasattr(data, "clean_view"):
            for spec in (*data.maker.specs, data.clean_view()):
                if spec.mean is not None:
                    raise RefusedRunError(
                        "colorization: the views are normalised, but Lab needs RGB in [0, 1]. Use "
                        "data.views: {name: colorization}, or set mean: null and std: null there "
                        "and in data.eval_view."
                    )

    def training_loss(self, batch: Batch) -> StepOutput:
        """Compute the cross-entropy of the colours, over all views (of one size) of the batch."""
        images = torch.cat(batch["views"])
        embedding, maps = self.reader(images)  # [VB, D], [VB, C, h, w]
        colours = F.avg_pool2d(rgb_to_lab(images)[:, 1:], self.stride)  # [VB, 2, H, W]
        scores = F.interpolate(self.head(maps), colours.shape[2:], mode="bilinear")
        logits, ab = _by_pixel(scores), _by_pixel(colours)  # [N, Q], [N, 2]
        target = self.bins.encode(ab, self.neighbours, self.sigma)
        nearest = target.bin[:, 0]
        weight = self.bins.weights(self.uniform, self.sigma)[nearest]
        loss = colorization_loss(logits, target.bin, target.share, weight)
        if self.training and torch.is_grad_enabled():
            self.bins.count(nearest)
        right = (logits.argmax(1) == nearest).float().mean()
        return StepOutput(loss, embedding, {"accuracy": right})


def _by_pixel(maps: Tensor) -> Tensor:
    """``[B, C, H, W]`` to ``[BHW, C]``."""
    return maps.permute(0, 2, 3, 1).flatten(0, 2)
