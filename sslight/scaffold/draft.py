"""The config for a folder: the recipe, the choices, and the data, in at most 25 lines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sslight.scaffold.recipes import Recipe, recipe_for
from sslight.scaffold.rules import Choice, Seen, choose
from sslight.scaffold.survey import Survey
from sslight.scaffold.text import line

#: Share of labelled images held out where there is no test folder, and the most of them.
_HELD_OUT, _MOST_HELD_OUT, _LEAST_TO_SHARE = 10, 5000, 100


@dataclass(frozen=True)
class Draft:
    """A config and its reasons.

    Attributes:
        text: The YAML.
        recipe: What it builds on.
        choices: What differs from the recipe, with reasons and sources.
        notes: What else is worth knowing.
    """

    text: str
    recipe: Recipe
    choices: tuple[Choice, ...]
    notes: tuple[str, ...]


def draft(seen: Survey, method: str, *, gpu: bool) -> Draft:
    """Write a config for what was seen.

    Args:
        seen: The folder.
        method: Name of the method.
        gpu: Whether it is to be trained by GPU.

    Raises:
        UnknownNameError: There is no such method.
        RefusedRunError: The method has no recipe that images are enough for.
    """
    recipe = recipe_for(method, seen.side)
    held_out = _held_out(seen)
    facts = Seen(seen.train.total - held_out, seen.side, gpu)
    choices = choose(facts, recipe)
    title = f"# {method} on {seen.folder}, written by `sslight init`: {facts.images:,} images."
    base = line(0, "_base_", recipe.name, "the published recipe; what is below changes it")
    lines = [title, base, *_method(choices), *_backbone(choices)]
    lines += ["data:", *_splits(seen, held_out), *_data(choices), *_rest(choices, seen, recipe)]
    return Draft("\n".join(lines) + "\n", recipe, tuple(choices), tuple(_notes(seen, held_out)))


def _held_out(seen: Survey) -> int:
    """How many labelled images to keep for testing where no folder is for that."""
    total = seen.train.total
    if "test" in seen.roots or not seen.labelled or total < _LEAST_TO_SHARE:
        return 0
    return min(total // _HELD_OUT, _MOST_HELD_OUT)


def _method(choices: list[Choice]) -> Iterator[str]:
    own = [choice for choice in choices if choice.key.startswith("method.")]
    if own:
        yield "method:"
    for choice in own:
        yield line(1, choice.key.partition(".")[2], choice.value, choice.why)


def _backbone(choices: list[Choice]) -> Iterator[str]:
    for choice in choices:
        if choice.key == "backbone":
            yield line(0, "backbone", choice.value, choice.why)


def _splits(seen: Survey, held_out: int) -> Iterator[str]:
    yield line(1, "train", _folder(seen.roots["train"]))
    if "test" in seen.roots:
        yield line(1, "test", _folder(seen.roots["test"]))
    elif held_out:
        yield line(1, "test", _folder(seen.roots["train"]), "the held-out images")
        limit = {"num": seen.train.total - held_out, "skip": held_out}
        yield line(1, "limit", limit, "the first of the shuffle are")
        yield line(1, "test_limit", held_out, "for testing, the rest for training")
    else:
        yield line(1, "test", None, "there is none")
    others = {name: _folder(path) for name, path in seen.roots.items() if name not in _OWN_KEYS}
    if others:
        yield line(1, "splits", others, "sslight extract reads these too")


_OWN_KEYS = ("train", "test")


def _folder(path: str) -> dict[str, Any]:
    return {"name": "folder", "root": path}


def _data(choices: list[Choice]) -> Iterator[str]:
    for choice in choices:
        if choice.key.startswith("data."):
            yield line(1, choice.key.partition(".")[2], choice.value, choice.why)
    yield line(1, "on_error", "replace", "a broken file is named, not fatal")


def _rest(choices: list[Choice], seen: Survey, recipe: Recipe) -> Iterator[str]:
    optim = {c.key: c for c in choices if c.key == "optim.warmup_epochs"}
    for choice in optim.values():
        yield line(0, "optim", {"warmup_epochs": choice.value}, choice.why)
    yield "trainer:"
    for choice in choices:
        if choice.key.startswith("trainer."):
            yield line(1, choice.key.partition(".")[2], choice.value, choice.why)
    yield from _callbacks(choices, seen, recipe)


def _callbacks(choices: list[Choice], seen: Survey, recipe: Recipe) -> Iterator[str]:
    epochs = next(c.value for c in choices if c.key == "trainer.max_epochs")
    tested = seen.labelled and ("test" in seen.roots or _held_out(seen))
    yield "callbacks:"
    yield line(1, "view_grid", {}, "runs/<name>/views: what it sees")
    if tested:
        knn = {"k": 20, "every_n_epochs": max(epochs // 20, 1)}
        yield line(1, "knn", knn, "accuracy while it learns")
        return
    for name in ("knn", "linear_probe"):
        if (recipe.tree.get("callbacks") or {}).get(name) is not None:
            yield line(1, name, None, "needs labels of train and test")


def _notes(seen: Survey, held_out: int) -> Iterator[str]:
    yield from seen.notes
    if held_out:
        yield (
            f"{held_out:,} images are held out for testing, since no folder is named test or val. "
            "To train on all, remove test, limit and test_limit."
        )
    if seen.train.bad:
        yield f"{len(seen.train.bad)} of {seen.train.opened} images opened cannot be read."
    if seen.grey:
        yield "The images are grey: of the colour changes only brightness and contrast act."
    if not seen.labelled:
        yield "There are no classes, so accuracies cannot be measured; extract gives the features."
