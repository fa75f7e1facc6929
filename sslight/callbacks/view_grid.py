"""Show what the method sees: the augmented views of a batch as one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor

from sslight.callbacks._common import say, switch_off

#: Pixels between views.
GAP = 2


class ViewGrid(pl.Callback):
    """Draw the views of an epoch's first batch: a row per image, a column per view.

    Views are denormalised by their specs' mean and standard deviation; smaller views are centred in
    the largest one's cell. Written by rank 0 to ``views/step_<k>.png`` in the run's folder (k
    finished optimizer steps) and to TensorBoard as ``views``, at the start and every n epochs. A
    run resumed within an epoch draws again at the next due epoch.

    Args:
        images: Rows of the grid.
        every_n_epochs: Epochs between pictures; 0 for the first epoch only.
    """

    def __init__(self, images: int = 8, every_n_epochs: int = 0) -> None:
        if images < 1 or every_n_epochs < 0:
            raise ValueError(
                f"callback view_grid: got images={images} and every_n_epochs={every_n_epochs}; "
                "give images >= 1 and every_n_epochs >= 0."
            )
        self.images = images
        self.every_n_epochs = every_n_epochs
        self.off = False

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Draw at batch 0 of due epochs, on rank 0."""
        if batch_idx or self.off or not trainer.is_global_zero or not self._due(trainer):
            return
        views = batch.get("views") if isinstance(batch, dict) else None
        if not views:
            switch_off(self, trainer, "the batch has no views.")
            return
        statistics = _statistics(trainer, len(views))
        if statistics is None:
            say(trainer, "view_grid: mean and std of the views are unknown, so each is stretched.")
        grid = draw_grid([view[: self.images] for view in views], statistics)
        self._write(trainer, grid)

    def _due(self, trainer: pl.Trainer) -> bool:
        epoch = trainer.current_epoch
        return epoch == 0 or (self.every_n_epochs > 0 and epoch % self.every_n_epochs == 0)

    def _write(self, trainer: pl.Trainer, grid: Tensor) -> None:
        from torchvision.io import write_png

        step = trainer.global_step
        path = Path(trainer.default_root_dir) / "views" / f"step_{step}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_png(grid, str(path))
        for board in trainer.loggers:
            if isinstance(board, TensorBoardLogger):
                board.experiment.add_image("views", grid, step)


def draw_grid(
    views: list[Tensor],
    statistics: list[tuple[tuple[float, ...] | None, tuple[float, ...] | None]] | None = None,
) -> Tensor:
    """Lay views out as a uint8 RGB picture ``[3, H, W]``: rows are images, columns are views.

    Args:
        views: Normalised ``[B, C, h, w]`` each; sizes may differ. One channel is shown grey; of two
            channels the first, of more than three the first three are shown.
        statistics: (mean, std) of each view, None for values in [0, 1]; None altogether stretches
            each view's values to [0, 1].
    """
    cell = max(max(view.shape[-2:]) for view in views)
    known = statistics if statistics is not None else [None] * len(views)
    pictures = [_as_rgb(_visible(v, s)) for v, s in zip(views, known, strict=True)]
    columns = [_centred(picture, cell + GAP) for picture in pictures]  # [B, 3, c, c] each
    rows = torch.cat(columns, dim=3)  # [B, 3, c, V * c]
    return torch.cat(list(rows), dim=1)


def _visible(
    view: Tensor, statistics: tuple[tuple[float, ...] | None, tuple[float, ...] | None] | None
) -> Tensor:
    """Bring a view's values back into [0, 1]."""
    view = view.detach().float().cpu()
    if statistics is None:
        low, high = view.amin(), view.amax()
        return (view - low) / (high - low).clamp_min(1e-6)
    mean, std = (None if s is None else torch.tensor(s).view(1, -1, 1, 1) for s in statistics)
    view = view if std is None else view * std
    return (view if mean is None else view + mean).clamp(0, 1)


def _as_rgb(picture: Tensor) -> Tensor:
    picture = (picture * 255).round().to(torch.uint8)
    if picture.shape[1] < 3:
        return picture[:, :1].expand(-1, 3, -1, -1)
    return picture[:, :3]


def _centred(picture: Tensor, cell: int) -> Tensor:
    """Put pictures in the middle of white square cells."""
    count, _, height, width = picture.shape
    canvas = picture.new_full((count, 3, cell, cell), 255)
    top, left = (cell - height) // 2, (cell - width) // 2
    canvas[:, :, top : top + height, left : left + width] = picture
    return canvas


def _statistics(
    trainer: pl.Trainer, n_views: int
) -> list[tuple[tuple[float, ...] | None, tuple[float, ...] | None]] | None:
    """Mean and standard deviation of each view, from the data module's view specs."""
    maker = getattr(getattr(trainer, "datamodule", None), "maker", None)
    found = [(s.mean, s.std) for s in getattr(maker, "specs", ()) for _ in range(s.count)]
    return found if len(found) == n_views else None
