"""The top-level keys of a config, each with the signature that is its schema."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sslight import registry
from sslight.config import calls, trainer
from sslight.config.values import FAILED, show

if TYPE_CHECKING:
    from sslight.config.reader import Reader

Section = Callable[["Reader", str, Any], Any]


@dataclass(frozen=True)
class Settings:
    """The scalar keys at the top of a config.

    Attributes:
        seed: Decides order, augmentation and initial weights.
        run_dir: Where the run lives; by default ``runs/<config name>``.
        resume: Whether a run found there continues: ``auto`` does if there is one.
        init: Weights to start from: a path, a URL, or ``random``.
        compile: What ``torch.compile`` compiles while training: the ``backbone`` with its momentum
            teachers, the whole ``loss`` with backbone and heads, or null for nothing.
        channels_last: Train with the channels of images and activations innermost in memory:
            most convolutional networks are quicker, transformers as they were; those that end in
            maps of a few pixels are better off without.
    """

    seed: int = 0
    run_dir: Path | None = None
    resume: Literal["auto", "never", "must"] = "auto"
    init: str | None = None
    compile: Literal["backbone", "loss"] | None = None
    channels_last: bool = True


#: Classes whose signature is a section's schema.
_CLASSES = {
    "data": "sslight.data.datamodule:SSLDataModule",
    "optim": "sslight.optim:Recipe",
    "extract": "sslight.features.extract:ExtractOptions",
}

#: Sections without which a command cannot start.
_NEEDED = {"fit": ("method", "backbone", "data"), "extract": ("backbone", "data")}


def read(
    reader: Reader, tree: dict[str, Any], command: str, given: Collection[str] = ()
) -> dict[str, Any]:
    """Read a whole config for a command; what is wrong is noted in the reader.

    ``given`` names the sections for which Python gives an object.
    """
    given = {*given, "backbone"} if "method" in given else given
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if key in SECTIONS:
            found[key] = SECTIONS[key](reader, key, value)
        else:
            calls.unknown(reader, key, "a config", list(SECTIONS))
    for key in _NEEDED.get(command, ()):
        if tree.get(key) is None and key not in {*given, *calls.misspelt(tree, SECTIONS)}:
            reader.fail(key, f"missing; sslight {command} needs it.{_known(key)}")
    return {key: value for key, value in found.items() if value is not FAILED}


def section_class(key: str) -> Any:
    """Return the class whose signature is the schema of ``data``, ``optim`` or ``extract``."""
    module, _, attribute = _CLASSES[key].partition(":")
    return getattr(importlib.import_module(module), attribute)


def _known(key: str) -> str:
    if key not in registry.FAMILIES:
        return ""
    return f" Write {key}: {{name: ...}}.{registry.did_you_mean('', registry.names(key))}"


def _setting(reader: Reader, key: str, value: Any) -> Any:
    return reader.read(key, value, registry.signature(None, Settings)[key].annotation)


def _member(reader: Reader, key: str, value: Any) -> Any:
    return None if value is None else calls.member(reader, key, value, key)


def _class(reader: Reader, key: str, value: Any) -> Any:
    if value is None:
        return None
    if not isinstance(value, dict):
        return reader.fail(key, f"got {show(value)}; expected keys.")
    cls = section_class(key)
    if key == "data":
        return calls.call(reader, key, cls, value, label=key)
    return calls.record(reader, key, value, cls)


def _optim(reader: Reader, key: str, value: Any) -> Any:
    """Read the recipe, its optimizer's name and that optimizer's own arguments."""
    if not isinstance(value, dict):
        return _class(reader, key, value)
    default = inspect.signature(section_class(key)).parameters["optimizer"].default
    thing = calls.named(reader, f"{key}.optimizer", value.get("optimizer", default), "optimizer")
    if thing is FAILED:
        value = {
            name: entry for name, entry in value.items() if name not in ("optimizer", "options")
        }
    elif not _options_fit(reader, f"{key}.options", thing, value):
        value = {name: value[name] for name in value if name != "options"}
    before = len(reader.problems)
    recipe = _class(reader, key, value)
    return FAILED if thing is FAILED or len(reader.problems) > before else recipe


def _options_fit(reader: Reader, key: str, thing: Any, node: dict[str, Any]) -> bool:
    """Check the optimizer's own arguments; keys that the recipe has are its to refuse."""
    options = node.get("options")
    if not isinstance(options, dict) or node.get("larc"):
        return True
    fields = registry.signature(None, section_class("optim"))
    own = {name: entry for name, entry in options.items() if name not in fields}
    return calls.arguments(reader, key, thing, own, family="optimizer") is not FAILED


def _members(family: str) -> Section:
    """Return the reader of a mapping from labels to members: callbacks, evaluation protocols."""

    def read_members(reader: Reader, key: str, value: Any) -> Any:
        if value is None:
            return {}
        if not isinstance(value, dict):
            example = f"{{{(registry.names(family) or ['name'])[0]}: {{...}}}}"
            return reader.fail(key, f"got {show(value)}; expected a mapping: {key}: {example}.")
        read = {
            label: None  # null switches an inherited one off
            if node is None
            else calls.member(reader, f"{key}.{label}", node, family, default=label)
            for label, node in value.items()
        }
        return FAILED if any(entry is FAILED for entry in read.values()) else read

    return read_members


SECTIONS: dict[str, Section] = {
    "seed": _setting,
    "run_dir": _setting,
    "resume": _setting,
    "init": _setting,
    "compile": _setting,
    "channels_last": _setting,
    "method": _member,
    "train_step": _member,
    "backbone": _member,
    "data": _class,
    "optim": _optim,
    "trainer": trainer.read,
    "callbacks": _members("callback"),
    "extract": _class,
    "eval": _members("eval"),
}
