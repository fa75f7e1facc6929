"""How a classifier of frozen features does on other labelled images than it learnt from."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sslight.errors import RefusedRunError
from sslight.eval._heads import Heads
from sslight.eval._names import named
from sslight.eval._probe import Probe, figures
from sslight.eval._rows import labelled_rows, vectors
from sslight.eval.base import Result, Subject


class Robustness:
    """Accuracy on shifted test sets (ImageNet-A, -R, Sketch, V2, ObjectNet, iWildCam, ...).

    The linear classifier of ``linear`` is trained on the train split and measured on the clean test
    split and on each of the other sets. Sets such as ImageNet-R hold a part of the classes only:
    with ``mask`` the others cannot be chosen, neither there nor in the clean accuracy that the set
    is compared with (``clean``, over the clean images of the set's classes). ``gap`` is clean less
    shifted. Sets may lie in this store as further splits or in another store of the same weights,
    whose classes are then matched by name.

    Args:
        sets: Splits to measure on; all labelled ones but ``train`` and ``test`` by default.
        store: Another store, of the same backbone and weights, which holds the sets.
        mask: Leave out classes that a set does not have.
        train: Split to train on.
        test: The clean test split.
        layers: Stored layers to evaluate; all of them by default.
        probe: How the classifier is trained.
    """

    def __init__(
        self,
        *,
        sets: list[str] | None = None,
        store: Path | None = None,
        mask: bool = True,
        train: str = "train",
        test: str = "test",
        layers: list[str] | None = None,
        probe: Probe | None = None,
    ):
        self.sets, self.store, self.mask = sets, store, mask
        self.train, self.test, self.layers = train, test, layers
        self.probe = probe or Probe()

    def evaluate(self, subject: Subject) -> Result:
        """Shifted and clean accuracy (or mean average precision), and the gap, of each set."""
        other = subject if self.store is None else _same_weights(subject, self.store)
        sets = self.sets or self._found(other)
        layers = self.layers or subject.layers
        start = time.perf_counter()
        rows = []
        for layer in layers:
            known, targets = labelled_rows(subject, self.train, "robustness")
            features = vectors(subject.features(self.train, layer))
            heads = self.probe.fit(features, targets, known, subject.device).heads
            rows += [self._set(subject, other, name, layer, heads) for name in sets]
        return Result(
            "robustness",
            metrics=named(rows, "layer", "set", always=("set",)),
            options={"sets": sets, "store": self.store, "mask": self.mask, "train": self.train,
                     "test": self.test, "layers": layers},
            n=sum(row["images"] for row in rows) // len(layers),
            seconds=time.perf_counter() - start,
            rows=rows,
        )  # fmt: skip

    def _found(self, other: Subject) -> list[str]:
        taken = (self.train, self.test) if self.store is None else ()
        found = [n for n in other.split_names if n not in taken and other.is_labelled(n)]
        if not found:
            raise RefusedRunError(
                f"robustness: {other.root} has no labelled split besides {self.train!r} and "
                f"{self.test!r}. Name further sets under data.splits, or a store with them: "
                "eval.robustness.store=<folder>."
            )
        return found

    def _set(
        self, subject: Subject, other: Subject, name: str, layer: str, heads: Heads
    ) -> dict[str, Any]:
        rows, targets = labelled_rows(other, name, "robustness")
        targets = _as_trained(targets, subject.classes(self.train), other.classes(name), name)
        clean_rows, clean_targets = labelled_rows(subject, self.test, "robustness")
        mask = _present(targets[rows], heads.bias.shape[1]) if self.mask else None
        if mask is not None and targets.ndim == 2:
            clean_targets = torch.where(mask, clean_targets, -1)
        elif mask is not None:
            clean_rows = clean_rows[np.isin(clean_targets[clean_rows], mask.nonzero())]
        if not len(clean_rows):
            raise RefusedRunError(f"robustness: no image of {self.test!r} has a class of {name!r}.")
        shifted = figures(heads, vectors(other.features(name, layer)), targets, rows, mask)
        clean = figures(
            heads, vectors(subject.features(self.test, layer)), clean_targets, clean_rows, mask
        )
        main = "top1" if "top1" in shifted else "map"
        classes = len(heads.bias[0]) if mask is None else int(mask.sum())
        return {
            "layer": layer, "set": name, "images": len(rows), "classes": classes, **shifted,
            "clean": clean[main], "gap": clean[main] - shifted[main],
        }  # fmt: skip


def _same_weights(subject: Subject, store: Path) -> Subject:
    """Open another store; an error where its features are not comparable."""
    other = Subject(store, device=subject.device)
    theirs, ours = other.manifest, subject.manifest
    if theirs.weights.get("sha256") != ours.weights.get("sha256"):
        raise RefusedRunError(
            f"robustness: the features in {store} are of other weights than those in "
            f"{subject.root}. Extract the other set with the same weights: `sslight extract "
            "--config ... extract.out=<folder>`."
        )
    return other


def _as_trained(
    targets: Tensor, trained: list[str] | None, given: list[str] | None, name: str
) -> Tensor:
    """Number a set's classes as in training, by name; -1 stays."""
    if trained is None or given is None or trained == given:
        return targets
    unknown = sorted(set(given) - set(trained))
    if unknown:
        raise RefusedRunError(
            f"robustness: the set {name!r} has classes that were not trained: "
            f"{', '.join(unknown[:5])}{' ...' if len(unknown) > 5 else ''}."
        )
    place = torch.tensor([trained.index(word) for word in given])
    if targets.ndim == 1:
        return torch.where(targets >= 0, place[targets.clamp_min(0)], -1)
    wide = targets.new_full((len(targets), len(trained)), -1)
    wide[:, place] = targets
    return wide


def _present(targets: Tensor, outputs: int) -> Tensor:
    """``[K]`` bool: the classes that occur."""
    if targets.ndim == 2:
        return (targets == 1).any(dim=0)
    mask = torch.zeros(outputs, dtype=torch.bool)
    mask[torch.unique(targets[targets < outputs])] = True
    return mask
