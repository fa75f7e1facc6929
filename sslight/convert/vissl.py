"""From a VISSL config to a config of sslight's: one file each for its parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sslight.convert.data import data_of
from sslight.convert.gone import tell_the_rest
from sslight.convert.method import method_of
from sslight.convert.optim import optim_of
from sslight.convert.training import callbacks_of, settings_of, trainer_of
from sslight.convert.trunk import backbone_of
from sslight.convert.vissl_tree import Note, VisslTree


@dataclass(frozen=True)
class Conversion:
    """What came of a VISSL config.

    Attributes:
        config: The config; ``???`` stands where only you know what to write.
        notes: One for each key that was not carried over, or not as it was.
    """

    config: dict[str, Any]
    notes: list[Note]


def convert(vissl: Mapping[str, Any]) -> Conversion:
    """Return the config of sslight's that does what a VISSL config does.

    Args:
        vissl: The content of its YAML file, with or without ``config`` at the root. Keys that it
            leaves out have VISSL's defaults.

    Raises:
        NotVisslError: The file is something else.
    """
    tree = VisslTree(vissl)
    config = {"_base_": ["_base_/pretrain"], **settings_of(tree)}
    config["method"] = method_of(tree)
    config["backbone"] = backbone_of(tree)
    config["data"] = data_of(tree, config["method"]["name"])
    config["optim"] = optim_of(tree)
    config["trainer"] = trainer_of(tree)
    config["callbacks"] = callbacks_of(tree)
    tell_the_rest(tree)
    return Conversion({key: value for key, value in config.items() if value != {}}, tree.notes)
