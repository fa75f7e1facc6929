"""Which images are the right answers to which queries."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sslight.errors import RefusedRunError
from sslight.eval._rows import labelled_rows, readable_rows
from sslight.eval.base import Subject

#: What a database image is to a query.
NEGATIVE, POSITIVE, HARD, JUNK = range(4)


@dataclass(frozen=True)
class Setting:
    """Which codes count as right, and which are taken out of the ranking."""

    positive: tuple[int, ...] = (POSITIVE,)
    junk: tuple[int, ...] = (JUNK,)


_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")

#: R-Oxford and R-Paris (Radenovic et al., 2018, arXiv:1803.11285, section 3.3).
_REVISITED = {
    "easy": Setting((POSITIVE,), (JUNK, HARD)),
    "medium": Setting((POSITIVE, HARD), (JUNK,)),
    "hard": Setting((HARD,), (JUNK, POSITIVE)),
}


@dataclass(frozen=True)
class Truth:
    """Queries, database and what they are to each other.

    Attributes:
        queries: Rows of the query split.
        database: Rows of the database split.
        codes: Gives ``[b, N]`` codes, uint8, of the queries in a slice with every database row.
        settings: Name to setting; the name is empty where there is one only.
        trapezoid: Average precision by the trapezoid rule of the Oxford benchmarks.
    """

    queries: np.ndarray
    database: np.ndarray
    codes: Callable[[slice], Tensor]
    settings: Mapping[str, Setting]
    trapezoid: bool = False


def same_label(subject: Subject, queries: str, database: str, *, distractors: bool) -> Truth:
    """Right is what shares a label (any of them, where an image has several).

    If both are the same split, an image is no answer to itself.

    Args:
        subject: With labels.
        queries: Split of the queries.
        database: Split that is searched.
        distractors: Keep database images without a label, as wrong answers; else leave them out.
    """
    asked, asked_labels = labelled_rows(subject, queries, "retrieval")
    rows, labels = labelled_rows(subject, database, "retrieval")
    if distractors:
        rows = readable_rows(subject, database, "retrieval")
    itself = queries == database

    def codes(part: slice) -> Tensor:
        shared = _shared(asked_labels[asked[part]], labels[rows])
        found = torch.where(shared, POSITIVE, NEGATIVE).to(torch.uint8)
        if itself:
            found[torch.from_numpy(asked[part][:, None] == rows)] = JUNK
        return found

    return Truth(asked, rows, codes, {"": Setting()})


def _shared(asked: Tensor, labels: Tensor) -> Tensor:
    if labels.ndim == 1:
        return asked[:, None] == labels
    return ((asked == 1).float() @ (labels == 1).float().T) > 0


def revisited(subject: Subject, path: Path, queries: str, database: str) -> Truth:
    """Read the ground truth of R-Oxford or R-Paris.

    The file holds what the authors' pickle does, as JSON: ``imlist`` and ``qimlist``, names of the
    images and of the queries, and ``gnd``, for each query the numbers of its ``easy``, ``hard`` and
    ``junk`` images in ``imlist``. Names are those of the stored images, with or without folder and
    ending.
    Images that the file does not name take no part, nor do unreadable ones.

    Raises:
        RefusedRunError: The file is not of this form, or names images that are not stored.
    """
    content = _read(path)
    asked = _places(subject, queries, content["qimlist"], path)
    rows = _places(subject, database, content["imlist"], path)
    answered = np.flatnonzero(subject.split(queries).ok[asked])
    kept = np.flatnonzero(subject.split(database).ok[rows])

    def codes(part: slice) -> Tensor:
        found = torch.zeros(len(answered[part]), len(rows), dtype=torch.uint8)
        for line, number in zip(found, answered[part], strict=True):
            for key, code in (("easy", POSITIVE), ("hard", HARD), ("junk", JUNK)):
                line[torch.as_tensor(content["gnd"][number][key], dtype=torch.int64)] = code
        return found[:, kept]

    return Truth(asked[answered], rows[kept], codes, _REVISITED, trapezoid=True)


def _read(path: Path) -> dict[str, Any]:
    form = 'an object with "imlist", "qimlist" and "gnd" (docs/evaluation_stores.md, retrieval)'
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RefusedRunError(f"retrieval: {path} is not readable as JSON ({error}).") from error
    if not isinstance(content, dict) or not {"imlist", "qimlist", "gnd"} <= set(content):
        raise RefusedRunError(f"retrieval: {path} does not hold {form}.")
    answers = content["gnd"]
    count = len(content["imlist"])
    if len(answers) != len(content["qimlist"]):
        raise RefusedRunError(
            f"retrieval: {path} has {len(content['qimlist'])} queries and answers to "
            f"{len(answers)}; `gnd` needs one entry per query."
        )
    for number, answer in enumerate(answers):
        numbers = [i for key in ("easy", "hard", "junk") for i in answer.get(key, [None])]
        if not all(isinstance(i, int) and 0 <= i < count for i in numbers):
            raise RefusedRunError(
                f"retrieval: {path}: gnd[{number}] needs easy, hard and junk, lists of numbers "
                f"from 0 to {count - 1}."
            )
    return content


def _places(subject: Subject, split: str, names: list[str], path: Path) -> np.ndarray:
    """Rows of a split by the images' paths without ending, or by file name where that is unique."""
    stored = [_bare(text) for text in subject.split(split).ids]
    by_name: dict[str, list[int]] = {}
    for row, text in enumerate(stored):
        by_name.setdefault(PurePosixPath(text).name, []).append(row)
    place = {name: rows[0] for name, rows in by_name.items() if len(rows) == 1}
    place |= {text: row for row, text in enumerate(stored)}
    missing = [name for name in names if _bare(name) not in place]
    if missing:
        raise RefusedRunError(
            f"retrieval: {path} names {len(missing)} images that the split {split!r} does not "
            f"hold (or holds several of), such as {', '.join(missing[:3])}."
        )
    return np.array([place[_bare(name)] for name in names], dtype=np.int64)


def _bare(text: str) -> str:
    """A path without the ending of an image; other dots belong to the name."""
    path = PurePosixPath(text)
    return str(path.with_suffix("")) if path.suffix.lower() in _ENDINGS else str(path)
