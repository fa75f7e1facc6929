"""Semi-supervised evaluation: the whole network, trained with a few of the labels."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from sslight.data.limit import Limit, limit_rows
from sslight.errors import RefusedRunError, refusing
from sslight.eval._training import (
    Training,
    check_split,
    fitting_batch,
    known_labels,
    num_known,
    stepped,
    views,
    with_intervals,
)
from sslight.eval.base import Result, Subject
from sslight.optim import Recipe


class SemiSupervised:
    """Finetuning with 1 % and 10 % of the labelled images (Henaff et al., 2019, arXiv:1905.09272).

    Each part is a run of ``supervised`` on a copy of the backbone, with VISSL's recipe. Parts are
    drawn from the seed, equally many images of each class, and a smaller part lies within a larger
    one; or they are lists of images, one name a line (such as the published ones of ImageNet: a
    path or its end, with or without suffix).

    Args:
        percent: Parts of the train split to draw, in percent.
        lists: Files with names of images, by what to call the part; in place of ``percent``.
        balanced: Draw the same number of each class; multi-label images cannot be.
        epochs: Passes over the part.
        batch_size: Images per step, over all devices; fewer where the part is small.
        lr: Learning rate for 256 images per step, scaled with the batch.
        milestones: Epochs from which it is a tenth; default VISSL's 30 of 70.
        weight_decay: Weight decay.
        head_lr: Learning rate of the new head for 256 images; default ``lr``.
        optim: A whole recipe, in place of the four above.
        scale: Range of a training crop's area.
        image_size: Side of the views; default the backbone's evaluation view.
        train: Split that the parts are of.
        test: Split to measure on.
        seed: Of the parts, order, crops and head.
    """

    def __init__(
        self,
        *,
        percent: list[float] = (1.0, 10.0),  # type: ignore[assignment]
        lists: dict[str, Path] | None = None,
        balanced: bool = True,
        epochs: int = 70,
        batch_size: int = 256,
        lr: float = 0.05,
        milestones: list[float] | None = None,
        weight_decay: float = 0.0,
        head_lr: float | None = None,
        optim: Recipe | None = None,
        scale: tuple[float, float] = (0.08, 1.0),
        image_size: int | None = None,
        train: str = "train",
        test: str = "test",
        seed: int = 0,
    ):
        check_split("semi_supervised", train, test, epochs, batch_size)
        if not lists and not all(0 < part <= 100 for part in percent or [0]):
            raise ValueError(
                f"semi_supervised: percent is {list(percent)}; give numbers above 0, at most 100."
            )
        steps = [epochs * 30 / 70] if milestones is None else milestones
        self.optim = optim or stepped(lr, steps, weight_decay, head_lr=head_lr)
        self.percent, self.lists, self.balanced = list(percent), lists, balanced
        self.epochs, self.batch_size = epochs, batch_size
        self.scale, self.image_size = scale, image_size
        self.train, self.test, self.seed = train, test, seed

    def evaluate(self, subject: Subject) -> Result:
        """Accuracy, or mean average precision, on the test split after training on each part."""
        start = time.perf_counter()
        labels = known_labels(subject, self.train, "semi_supervised")
        tested = known_labels(subject, self.test, "semi_supervised")
        seen = views(subject, self.image_size, self.scale)
        rows: list[dict[str, Any]] = []
        runs: dict[str, str] = {}
        for name, part in self._parts(subject, labels).items():
            training = Training(
                method={"multi_label": labels.ndim == 2}, optim=self.optim, epochs=self.epochs,
                batch_size=fitting_batch(self.batch_size, len(part)), rows=part,
                train=self.train, test=self.test, seed=self.seed, views=seen,
            )  # fmt: skip
            trained = subject.train(f"semi_supervised-{_as_folder(name)}", training)
            rows.append({"part": name, "images": len(part), **trained.metrics})
            runs[name] = str(trained.folder)
        figures = {f"{row['part']}/{k}": v for row in rows for k, v in row.items()
                   if k not in ("part", "images")}  # fmt: skip
        return with_intervals(Result(
            "semi_supervised",
            metrics=figures,
            options={"balanced": self.balanced, "lists": self.lists, "epochs": self.epochs,
                     "batch_size": self.batch_size, "optim": str(self.optim),
                     "train": self.train, "test": self.test, "seed": self.seed, "runs": runs},
            n=num_known(tested),
            seconds=time.perf_counter() - start,
            rows=rows,
        ))  # fmt: skip

    def _parts(self, subject: Subject, labels: np.ndarray) -> dict[str, np.ndarray]:
        if self.lists:
            source = subject.source(self.train)
            names = [source.id(i) for i in range(len(source))]
            return {part: listed_rows(names, path, part) for part, path in self.lists.items()}
        return {f"{share:g}%": self._drawn(labels, share) for share in sorted(self.percent)}

    def _drawn(self, labels: np.ndarray, share: float) -> np.ndarray:
        """Rows of a part; at least one image of each class if balanced."""
        known = np.flatnonzero(labels >= 0 if labels.ndim == 1 else (labels >= 0).any(axis=1))
        num = max(round(len(known) * share / 100), 1)
        balanced = self.balanced and share < 100
        if balanced and labels.ndim == 1:
            num = max(num, len(np.unique(labels[known])))
        with refusing():
            drawn = limit_rows(labels[known], len(known), Limit(num, balanced, seed=self.seed))
        rows: np.ndarray = known[drawn]
        return rows


def listed_rows(names: list[str], path: Path, part: str) -> np.ndarray:
    """Rows of the images that a file names, one a line: a whole name, or its end after a ``/``.

    Raises:
        RefusedRunError: The file cannot be read, or names images that are not there, or several.
    """
    try:
        lines = [line.split()[0] for line in path.read_text().splitlines() if line.strip()]
    except OSError as error:
        raise RefusedRunError(
            f"semi_supervised: the list {path} ({part}) cannot be read: {error.strerror}."
        ) from error
    found, places = [], _by_end(names, lines)
    for line in lines:
        rows = places.get(_stem(line), [])
        if len(rows) != 1:
            what = "no image" if not rows else f"{len(rows)} images"
            raise RefusedRunError(
                f"semi_supervised: {path} ({part}) names {line!r}, and {what} of the split ends "
                "so. Give names as the source does (ids of a feature store show them)."
            )
        found += rows
    if not found:
        raise RefusedRunError(f"semi_supervised: {path} ({part}) names no image.")
    kept: np.ndarray = np.unique(found)
    return kept


def _by_end(names: list[str], lines: list[str]) -> dict[str, list[int]]:
    """Rows by the end of their name, for every number of parts that a line has."""
    depths = {line.count("/") + 1 for line in lines}
    places: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        parts = _stem(name).split("/")
        for depth in depths:
            if depth <= len(parts):
                places.setdefault("/".join(parts[-depth:]), []).append(row)
    return places


def _stem(name: str) -> str:
    """A name without its suffix: ``n01440764/a.JPEG`` and ``n01440764/a`` are one image."""
    folder, slash, file = name.rpartition("/")
    return f"{folder}{slash}{file.rpartition('.')[0] or file}"


def _as_folder(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "pct" if c == "%" else "_" for c in name)
