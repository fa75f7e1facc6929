"""A backbone from whatever a person names: a run, a config, a file of weights, a module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from sslight import config as configs
from sslight.backbones import BACKBONES
from sslight.checkpoints import LoadedBackbone, init_backbone, load_backbone
from sslight.config import Config
from sslight.errors import RefusedRunError, refusing
from sslight.run import assemble
from sslight.run.extract import Weights, build_options, has_weights, untrained

Source = str | Path | Mapping[str, Any] | nn.Module


@dataclass(frozen=True)
class Network:
    """A backbone, and what is known of where it was trained.

    Attributes:
        loaded: The backbone with its view, on the CPU.
        run_dir: The run's folder, where there is one.
        config: The run's config, where there is one.
    """

    loaded: LoadedBackbone
    run_dir: Path | None = None
    config: Config | None = None


def open_network(
    source: Source,
    *,
    weights: Weights | None = None,
    view: Any = None,
    init: str | Path | None = None,
    overrides: Iterable[str] = (),
    trust: Sequence[str] = (),
) -> Network:
    """Find a trained backbone.

    Args:
        source: A run's folder, a config (path, shipped name, mapping) whose run or ``init`` has the
            weights, a file that :func:`sslight.load_backbone` reads, a backbone's name, or a
            module.
        weights: Which of a run's weights; None for the config's ``extract.weights``, or ``main``.
        view: Spec of the evaluation view; None for the one that the weights came with.
        init: Weights for a backbone's name.
        overrides: ``key=value`` strings for a config.
        trust: Packages whose classes the config may name.

    Raises:
        RefusedRunError: There is no such thing, or it has no trained weights.
    """
    with refusing():
        if isinstance(source, LoadedBackbone):
            return Network(source)
        if isinstance(source, nn.Module):
            return Network(load_backbone(source, view=view))
        if not isinstance(source, Mapping) and _is_no_config(source):
            loaded = load_backbone(source, weights=weights or "main", view=view, init=init)
            return _beside(source, loaded)
        return _from_config(source, weights, view, overrides, trust)


def _is_no_config(source: str | Path) -> bool:
    """Whether the name is a file of weights, a run without a config, or a backbone."""
    path, name = Path(source).expanduser(), str(source)
    if path.is_dir():
        return not (path / "config.yaml").is_file()
    is_file = path.is_file() and path.suffix not in (".yaml", ".yml")
    return is_file or name in BACKBONES or name.startswith("timm/")


def _beside(source: str | Path, loaded: LoadedBackbone) -> Network:
    """Look for the config of the run that a file of weights lies in."""
    path = Path(source).expanduser()
    for folder in (path.parent, path.parent.parent):
        if path.is_file() and (folder / "config.yaml").is_file():
            return Network(loaded, folder, configs.compose(folder))
    return Network(loaded, path if path.is_dir() else None)


def _from_config(
    source: str | Path | Mapping[str, Any],
    weights: Weights | None,
    view: Any,
    overrides: Iterable[str],
    trust: Sequence[str],
) -> Network:
    composed = configs.compose(source, overrides)
    checked = configs.checked(composed, "extract", trust)
    run_dir = assemble.run_folder(checked, composed.name)
    if not isinstance(source, Mapping) and has_weights(Path(source)):
        run_dir = Path(source)  # a run that was moved is where it is, not where it was trained
    options = build_options(checked, weights, trust)
    found = options.checkpoint or (run_dir if has_weights(run_dir) else None)
    if found is not None:
        network = assemble.build_backbone(untrained(checked), trust)
        loaded = load_backbone(found, weights=options.weights, backbone=network, view=view)
    elif checked.get("init"):
        network = assemble.build_backbone(checked, trust)
        init_backbone(network, checked["init"])
        clean = view if view is not None else assemble.build_data(checked, trust).clean_view()
        loaded = LoadedBackbone(network, clean, source=str(checked["init"]))
    else:
        raise RefusedRunError(
            f"There is no trained backbone in {run_dir}. Train first (`sslight fit` with the same "
            "config), or name weights with extract.checkpoint=PATH or init=PATH."
        )
    return Network(loaded, run_dir, composed)
