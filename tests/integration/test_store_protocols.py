"""Every protocol that runs on a store: padding, duplicates and ranks change no figure."""

from __future__ import annotations

import json
import math
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ranks import run_ranks

from sslight import registry
from sslight.errors import RefusedRunError
from sslight.eval import Result, Subject
from sslight.features.manifest import LayerEntry, Manifest, SplitEntry
from sslight.features.writer import StoreWriter

pytest.importorskip("sklearn")

CLASSES = ["ant", "bee", "cat", "dog"]
#: Sizes for a quick test, whichever protocol has a parameter of that name.
SMALL: dict[str, Any] = {
    "k": [1, 3],
    "draws": 2,
    "epochs": 5,
    "iterations": 5,
    "cost": [0.1, 1.0],
    "lr": [0.3, 3.0],
    "weight_decay": [0.0, 1e-3],
    "soft": True,
}


def clouds(n: int, seed: int, width: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping clouds, so that no figure is 0 or 1; two layers; labels of four classes."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 4, n)
    centres = np.random.default_rng(99).normal(size=(4, width))
    return (centres[labels] + 1.2 * draw.normal(size=(n, width))).astype(np.float32), labels


SPLITS = {"train": clouds(83, 0), "test": clouds(50, 1), "shifted": clouds(31, 2)}


def store(
    root: Path, *, padding: int = 0, twice: bool = False, several: bool = False, ranks: int = 1
) -> Path:
    """The splits, each with unreadable rows at its end; written by ranks, perhaps some twice."""
    layers = {"a": LayerEntry((12,), "<f4"), "b": LayerEntry((3, 2, 2), "<f4")}
    manifest = Manifest("none", {"sha256": "0"}, None, layers)
    writers = [StoreWriter(root, manifest, rank=r, world_size=ranks) for r in range(ranks)]
    for name, (features, labels) in SPLITS.items():
        x = np.concatenate([features, np.full((padding, 12), np.nan, np.float32)])
        y = np.concatenate([labels, np.zeros(padding, np.int64)])
        if several:
            y = np.stack([y == 0, y < 2, y > 1], 1).astype(np.int64)
        entry = SplitEntry(len(x), name, CLASSES if not several else CLASSES[:3], True)
        ids = [f"{name}/{i}.jpg" for i in range(len(x))]
        ok = np.arange(len(x)) < len(features)
        for writer in writers:
            rows = np.array(writer.rows(len(x)))
            with writer.open(name, entry, layers, labels=y, ids=ids) as out:
                for part in [rows, rows[::-1][:7]] if twice else [rows]:
                    maps = x[part].reshape(-1, 3, 2, 2) ** 2
                    out.write(part, {"a": x[part], "b": maps}, ok[part])
    return root


def build(name: str) -> Any:
    protocol = registry.resolve("eval", name)
    known = signature(protocol.__init__).parameters
    return protocol(**{k: v for k, v in SMALL.items() if k in known and fits(v, known[k].default)})


def fits(value: Any, default: Any) -> bool:
    """A list where the parameter is one by default, a single value where it is that."""
    return isinstance(value, list) == isinstance(default, list | tuple)


def run(name: str, root: Path | str) -> Result | None:
    """A protocol's result; None where it needs images, and says so."""
    try:
        return build(name).evaluate(Subject(root))
    except RefusedRunError as error:
        if "holds features only" in str(error):
            return None
        raise


def plain(result: Result | None) -> str:
    """Figures, rows and number of images, to be compared as text: NaN equals NaN."""
    assert result is not None
    return json.dumps([result.metrics, result.rows, result.n], sort_keys=True)


NAMES = registry.names("eval")


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Figures of every protocol that needs no images."""
    root = store(tmp_path_factory.mktemp("straight"))
    results = {name: run(name, root) for name in NAMES}
    return {name: plain(result) for name, result in results.items() if result is not None}


def needs_a_store_only(name: str, straight: dict[str, str]) -> str:
    if name not in straight:
        pytest.skip("needs images, and said so")
    return straight[name]


def test_they_were_found(straight: dict[str, str]) -> None:
    assert len(straight) >= 9


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_there_and_finite(name: str, straight: dict[str, str]) -> None:
    metrics, rows, images = json.loads(needs_a_store_only(name, straight))
    assert metrics
    assert rows
    assert images > 0
    assert all(math.isfinite(value) for value in metrics.values()), metrics


@pytest.mark.parametrize("name", NAMES)
def test_padding_and_duplicates_change_nothing(
    name: str, straight: dict[str, str], tmp_path: Path
) -> None:
    """Unreadable rows at the end, rows written twice, and by three ranks."""
    expected = needs_a_store_only(name, straight)
    padded = store(tmp_path / "padded", padding=5, twice=True, ranks=3)
    assert plain(run(name, padded)) == expected


def figures_of_all(root: str, names: list[str]) -> dict[str, str]:
    return {name: plain(run(name, root)) for name in names}


@pytest.mark.ranks
def test_ranks_change_nothing(straight: dict[str, str], tmp_path: Path) -> None:
    """Three ranks, which divide none of the numbers of images."""
    for found in run_ranks(3, figures_of_all, str(store(tmp_path)), list(straight)):
        assert found == straight


@pytest.mark.parametrize("name", NAMES)
def test_several_labels_per_image_are_taken_or_refused(
    name: str, straight: dict[str, str], tmp_path: Path
) -> None:
    needs_a_store_only(name, straight)
    try:
        result = run(name, store(tmp_path, several=True))
    except RefusedRunError as error:
        if "several" not in str(error):
            raise
        return
    assert result is not None
    assert all(math.isfinite(value) for value in result.metrics.values()), result.metrics
