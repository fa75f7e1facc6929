"""A subject whose trainings are noted instead of run."""

from __future__ import annotations

from pathlib import Path

import tiny

from sslight.augment.presets import PRESETS
from sslight.data.datamodule import SSLDataModule
from sslight.data.sources.shapes import Shapes
from sslight.eval import Subject
from sslight.eval._training import Trained, Training


class Noted:
    """Stands for the trainer: keeps what was asked, answers with the same figures."""

    def __init__(self, **metrics: float) -> None:
        self.metrics = metrics or {"top1": 0.5, "top5": 0.9}
        self.asked: list[tuple[str, Training]] = []

    def __call__(self, subject: Subject, label: str, training: Training) -> Trained:
        self.asked.append((label, training))
        return Trained(dict(self.metrics), Path("somewhere"))


def image_subject(folder: Path, trainer: Noted, num_images: int = 200, **data) -> Subject:
    module = SSLDataModule(
        Shapes(num_images, size=16), Shapes(30, size=16),
        views=PRESETS["simclr"](size=16), batch_size=8, workers=0, **data,
    )  # fmt: skip
    return Subject(folder, backbone=tiny.resnet(), datamodule=module, trainer=trainer)
