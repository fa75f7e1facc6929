"""The published recipe that a config builds on: one of the shipped configs of the method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sslight import config as configs
from sslight import registry
from sslight.errors import RefusedRunError

#: Up to this size of the images the recipes for CIFAR-10 fit better than those for ImageNet.
SMALL = 64

#: Trials of a few minutes, and no recipes.
_QUICK = ("/shapes", "/small_images")


@dataclass(frozen=True)
class Recipe:
    """A shipped config and what of it decides the rest.

    Attributes:
        name: As ``_base_`` writes it.
        tree: The composed config.
        title: The first comment of its file.
        takes: Arguments of the method that a config may set.
        needs_tokens: Whether the method reads patch tokens, so that sizes belong together.
    """

    name: str
    tree: dict[str, Any]
    title: str
    takes: frozenset[str]
    needs_tokens: bool

    @property
    def method(self) -> dict[str, Any]:
        """The method's node."""
        return dict(self.tree["method"])

    def default(self, key: str) -> Any:
        """Return what the recipe, or else the method itself, says for a key of the method."""
        if key in self.method:
            return self.method[key]
        method = registry.resolve("method", self.method["name"])
        return registry.signature("method", method)[key].default

    @property
    def views(self) -> dict[str, Any] | None:
        """The views' node where it names a preset."""
        views = (self.tree.get("data") or {}).get("views")
        return dict(views) if isinstance(views, dict) else None


def recipe_for(method: str, side: int) -> Recipe:
    """Return the recipe of a method for images of so many pixels.

    Raises:
        UnknownNameError: There is no such method.
        RefusedRunError: It has no recipe, or one that needs more than images.
    """
    found = registry.resolve("method", method)
    names = [name for name in configs.shipped() if name.startswith(f"{method}/")]
    names = [name for name in names if not name.endswith(_QUICK)]
    if not names:
        raise RefusedRunError(
            f"sslight init: no config of {method!r} is shipped to build on. Write one as "
            "docs/config.md says, or choose another --method (sslight list configs)."
        )
    name = min(names, key=lambda name: _rank(name, small=side <= SMALL))
    tree = configs.load(name)
    _refuse_open_questions(name, tree)
    return Recipe(
        name=name,
        tree=dict(tree),
        title=_title(name),
        takes=frozenset(registry.signature("method", found)),
        needs_tokens=bool(getattr(found, "needs_tokens", False)),
    )


def _rank(name: str, *, small: bool) -> tuple[bool, bool, bool, int, str]:
    """Order the recipes of a method: the data's size, folders, ResNets, plain ones first."""
    file = name.rpartition("/")[2]
    fits = ("cifar10" in file) == small
    return not fits, not file.startswith("folder"), "resnet" not in file, len(file), file


def _refuse_open_questions(name: str, tree: dict[str, Any]) -> None:
    """A recipe with a ``???`` beside the folders needs something that no folder shows."""
    asked = [key for key, value in configs.flatten(tree).items() if value == "???"]
    asked = [key for key in asked if not key.endswith(".root")]
    if asked:
        raise RefusedRunError(
            f"sslight init: {name} needs {' and '.join(asked)}, which a folder of images does not "
            f"tell. Run it directly: sslight fit --config {name} {asked[0]}=... "
            "data.train.root=..."
        )


def _title(name: str) -> str:
    first = configs.shipped()[name].read_text(encoding="utf-8").splitlines()
    said = next((line for line in first if line.startswith("# ") and "$schema" not in line), "")
    return said.lstrip("# ").rstrip(".")
