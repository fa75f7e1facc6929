"""``sslight extract``: features of every split, from a run, a checkpoint or a named backbone."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import nn

from sslight import config as configs
from sslight.backbones.layers import LayerReader
from sslight.checkpoints import init_backbone, load_backbone
from sslight.checkpoints.record import view_fields
from sslight.checkpoints.views import own_view, recorded_view
from sslight.data.datamodule import SSLDataModule
from sslight.errors import RefusedRunError, refusing
from sslight.features import FeatureStore, load_features
from sslight.features.extract import ExtractOptions, extract_features
from sslight.loggers import write_log_file
from sslight.run import assemble
from sslight.run.progress import RowProgress
from sslight.run.summary import say_report_next
from sslight.run.trainer import quiet_lightning

log = logging.getLogger("sslight")

Weights = Literal["main", "ema", "student"]


@dataclass
class Extraction:
    """What features are made of and where they go.

    Attributes:
        backbone: The network, in eval mode.
        source: Where its weights came from, in words.
        data: The images.
        options: How to extract.
        folder: The feature store.
        init: The file or address that ``init`` names, where the weights came from there.
    """

    backbone: nn.Module
    source: str
    data: SSLDataModule
    options: ExtractOptions
    folder: Path
    init: str | None = None

    @property
    def meta(self) -> dict[str, Any]:
        """What the store's manifest keeps, so that the backbone can be found again."""
        return {"source": self.source, **({"init": self.init} if self.init else {})}


def extract(
    config: str | os.PathLike[str] | Mapping[str, Any],
    overrides: Iterable[str] = (),
    *,
    weights: Weights | None = None,
    backbone: nn.Module | None = None,
    data: SSLDataModule | None = None,
    trust: Sequence[str] = (),
) -> FeatureStore | None:
    """Write the features of every split asked for into the run's feature store.

    The backbone is ``extract.checkpoint`` if set, else the run's, else what ``init`` names. An
    interrupted extraction continues; finished rows are not computed again.

    Args:
        config: Path or shipped name of a config, a run (also what ``fit`` returned), or a mapping.
        overrides: ``key=value`` strings.
        weights: Which of a run's weights; None for ``extract.weights``.
        backbone: A network in place of the config's ``backbone``, ``init`` and the run's weights.
        data: A data module in place of the config's ``data``.
        trust: Packages whose classes the config may name.

    Returns:
        The store; None on a machine that wrote only a shard.
    """
    composed = configs.compose(config, overrides)
    checked = configs.checked(composed, "extract", trust, given(backbone=backbone, data=data))
    with write_log_file(assemble.run_folder(checked, composed.name)):
        work = prepare(checked, composed.name, weights, data, trust, backbone)
        return _extract(checked, work)


def given(**objects: Any) -> list[str]:
    """Return the sections of the config that objects stand for."""
    return [name for name, thing in objects.items() if thing is not None]


def _extract(checked: Mapping[str, Any], work: Extraction) -> FeatureStore | None:
    with quiet_lightning(), refusing(MisconfigurationException, TypeError):
        fabric = start_ranks(checked.get("trainer") or {})
    work.backbone.to(fabric.device)
    with autocast(fabric, checked.get("trainer") or {}), RowProgress(fabric.is_global_zero) as bar:
        store = extract_features(
            work.backbone,
            work.data,
            work.options,
            work.folder,
            rank=fabric.global_rank,
            world_size=fabric.world_size,
            device=fabric.device,
            meta=work.meta,
            progress=bar,
        )
    work.data.bad_images.say()
    if store is None or not fabric.is_global_zero:
        return None
    log.info("Features of %s are in %s.", work.source, work.folder)
    say_report_next(work.folder.parent)
    return load_features(work.folder)


def prepare(
    checked: Mapping[str, Any],
    name: str,
    weights: Weights | None,
    data: SSLDataModule | None,
    trust: Sequence[str],
    backbone: nn.Module | None = None,
) -> Extraction:
    """Find the backbone, unless one is given, and build the data and the options."""
    options = build_options(checked, weights, trust)
    run_dir = assemble.run_folder(checked, name)
    with refusing():
        if backbone is not None:
            network, source = load_backbone(backbone).backbone, type(backbone).__name__
        else:
            network, source = _backbone(checked, run_dir, options, trust)
        LayerReader(network, options.layers)  # their names are checked before images are read
        view = _travelling_view(checked, run_dir, options, network)
    return Extraction(
        backbone=network.eval(),
        source=source,
        data=data or assemble.build_data(_seen_as(checked, view), trust),
        options=options,
        folder=store_folder(options, run_dir),
        init=None if options.checkpoint or has_weights(run_dir) else checked.get("init"),
    )


def _travelling_view(
    checked: Mapping[str, Any], run_dir: Path, options: ExtractOptions, backbone: nn.Module
) -> Any:
    """The view that came with weights from elsewhere, or None.

    A run's own weights are seen as its config says; of a network that only has a name the library's
    transform counts where the config has no views.
    """
    data = checked.get("data") or {}
    if options.checkpoint is None and has_weights(run_dir):
        return None
    source = options.checkpoint or checked.get("init")
    view = recorded_view(source) if source else None
    return own_view(backbone) if view is None and not data.get("views") else view


def _seen_as(checked: Mapping[str, Any], view: Any) -> Mapping[str, Any]:
    if view is None:
        return checked
    data = checked.get("data") or {}
    said, fields = data.get("eval_view") or {}, dict(view_fields(view) or {})
    if "size" in said:
        del fields["resize"]  # it belongs to the other size
    seen = {**fields, **said}
    log.info("Images are seen as the backbone wants: %d px (data.eval_view changes it).",
             seen["size"])  # fmt: skip
    return {**checked, "data": {**data, "eval_view": seen}}


def build_options(
    checked: Mapping[str, Any], weights: Weights | None, trust: Sequence[str]
) -> ExtractOptions:
    """Build the options of ``extract``, with the weights that the command asks for."""
    options: ExtractOptions = configs.make(
        ExtractOptions, checked.get("extract"), trust, key="extract"
    )
    return options if weights is None else dataclasses.replace(options, weights=weights)


def store_folder(options: ExtractOptions, run_dir: Path) -> Path:
    """Return where features go: ``extract.out``, or a folder of the run."""
    suffix = "" if options.weights == "main" else f"_{options.weights}"
    return Path(options.out or run_dir / f"features{suffix}")


def names_weights(checked: Mapping[str, Any], run_dir: Path, options: ExtractOptions) -> bool:
    """Say whether there are weights to build a backbone from: a checkpoint, a run's, or init."""
    named = options.checkpoint or checked.get("init") or _comes_trained(checked)
    return bool(named or has_weights(run_dir))


def _backbone(
    checked: Mapping[str, Any], run_dir: Path, options: ExtractOptions, trust: Sequence[str]
) -> tuple[nn.Module, str]:
    init = checked.get("init")
    found = options.checkpoint or (run_dir if has_weights(run_dir) else None)
    network = None
    if checked.get("backbone"):  # else the file has to say which network it is of
        network = assemble.build_backbone(untrained(checked) if found else checked, trust)
    if found is not None:
        if init and options.checkpoint is None:
            log.info("init: %s is ignored: %s holds a trained backbone.", init, run_dir)
        loaded = load_backbone(found, weights=options.weights, backbone=network)
        if loaded.report and loaded.report.layout:
            log.info("%s", loaded.report)  # weights of another project
        return loaded.backbone, str(found)
    if network is None:
        raise RefusedRunError(
            f"backbone: missing, and {init or 'nothing'} does not say which network it is of. "
            "Write backbone={name: ...}, or extract.checkpoint=PATH for weights of sslight's."
        )
    if init:
        report = init_backbone(network, init)
        log.info("%s", report or f"{checked['backbone']['name']} with random weights")
        network = network if report else _before_training(network, checked, trust)
        return network, f"{checked['backbone']['name']} (init: {init})"
    if not any(True for _ in network.parameters()):
        return network, str(checked["backbone"]["name"])
    if _comes_trained(checked):
        return network, f"{checked['backbone']['name']} (its library's weights)"
    raise RefusedRunError(
        f"There is no trained backbone in {run_dir}, and features of random weights are seldom "
        "wanted. Train first (`sslight fit` with the same config), name weights with "
        "extract.checkpoint=PATH or init=PATH, or write init=random."
    )


def _before_training(
    network: nn.Module, checked: Mapping[str, Any], trust: Sequence[str]
) -> nn.Module:
    """The network as the config's method would evaluate it: some change positions or the input."""
    if not checked.get("method") or not any(True for _ in network.parameters()):
        return network
    return assemble.build_method(checked, trust, network).eval_backbone


def untrained(checked: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config without what would load weights (or download them) to be replaced at once."""
    node = {k: v for k, v in checked["backbone"].items() if k not in ("weights", "pretrained")}
    return {**checked, "backbone": node}


def _comes_trained(checked: Mapping[str, Any]) -> bool:
    """Say whether the config's backbone names weights of torchvision or timm."""
    node = checked.get("backbone") or {}
    return bool(node.get("weights") or node.get("pretrained"))


def has_weights(run_dir: Path) -> bool:
    """Say whether a folder holds a trained backbone, or checkpoints of one."""
    return (run_dir / "backbone.safetensors").exists() or any(
        (run_dir / "checkpoints").glob("*.ckpt")
    )


def start_ranks(trainer: Mapping[str, Any]) -> Any:
    """Start as many processes as the config's trainer has, without a training loop."""
    from lightning_fabric import Fabric

    given = {key: trainer[key] for key in ("accelerator", "devices", "num_nodes") if key in trainer}
    given.setdefault("devices", 1 if not torch.cuda.is_available() else "auto")
    ranks = given["devices"]
    several = ranks not in (1, "1", [0]) or int(given.get("num_nodes", 1)) > 1
    fabric = Fabric(**given, strategy="ddp" if several else "auto")
    fabric.launch()
    return fabric


def autocast(fabric: Any, trainer: Mapping[str, Any]) -> AbstractContextManager[Any]:
    """Compute in the training's mixed precision; features are stored in ``extract.dtype``."""
    precision = str(trainer.get("precision", "32-true"))
    dtype = {"bf16": torch.bfloat16, "16": torch.float16}.get(precision.removesuffix("-mixed"))
    mixed = precision.endswith("-mixed") and dtype is not None
    return torch.autocast(fabric.device.type, dtype=dtype, enabled=mixed)
