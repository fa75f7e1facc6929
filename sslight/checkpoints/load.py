"""A trained backbone back from a run, a file or a name, ready to embed images."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from sslight.backbones import BACKBONES, builder
from sslight.backbones.inputs import see
from sslight.backbones.protocol import as_backbone
from sslight.backbones.spec import BackboneSpec, did_you_mean
from sslight.checkpoints.download import fetch, is_url
from sslight.checkpoints.formats import read_pickle, read_state
from sslight.checkpoints.init import init_backbone, load_state, recognised
from sslight.checkpoints.loaded import LoadedBackbone
from sslight.checkpoints.record import Record, read_record, view_of
from sslight.checkpoints.report import LoadReport

Which = Literal["main", "ema", "student"]
_FILES = {"main": "backbone.safetensors", "ema": "backbone_ema.safetensors"}


def load_backbone(
    source: str | os.PathLike[str] | nn.Module,
    *,
    weights: Which = "main",
    backbone: nn.Module | None = None,
    view: Any = None,
    init: str | Path | None = None,
    device: torch.device | str = "cpu",
) -> LoadedBackbone:
    """Load a backbone for use: ``load_backbone("runs/x").embed(paths)``.

    Args:
        source: A run folder, or what ``fit`` returned; a weight file or its
            ``https://host/file#sha256=<hex>``, ours or of a project whose layout
            :mod:`sslight.checkpoints.layouts` knows; a backbone's name; a module; or a method, of
            which the backbone that it evaluates is taken.
        weights: Of a run: ``main`` is what the method evaluates, ``ema`` the average that
            ``ema_weights`` kept, ``student`` the trained network where that is another one.
        backbone: The network to fill, where the file does not tell it (a module of your own).
        view: Spec of the evaluation view; default the file's, else the network's own.
        init: Weights for a backbone's name: a path, an address with checksum, or ``random``.
        device: Where to put it.

    Returns:
        The backbone; its ``report`` says what became of every tensor of a file.

    Raises:
        FileNotFoundError: No such run, file or name.
        ValueError: Weights do not fit, the file does not tell its network, or a bare name would
            have random weights.
    """
    if isinstance(source, nn.Module):
        network, record, report = as_backbone(getattr(source, "eval_backbone", source)), None, None
    else:
        network, record, report = _open(os.fspath(source), weights, backbone, init)
    loaded = LoadedBackbone(
        network,
        view if view is not None else view_of(record.view if record else None),
        source=type(source).__name__ if isinstance(source, nn.Module) else os.fspath(source),
        meta=record.meta if record else None,
        report=report,
    )
    return loaded.to(device)


def newest_checkpoint(run: Path) -> Path:
    """Return the newest checkpoint of a run's folder."""
    checkpoints = sorted(run.glob("checkpoints/*.ckpt"), key=lambda p: p.stat().st_mtime_ns)
    if not checkpoints:
        raise FileNotFoundError(
            f"{run} has neither {_FILES['main']} nor checkpoints/*.ckpt: is it a run folder, and "
            "did the run get as far as its first checkpoint?"
        )
    return checkpoints[-1]


_Opened = tuple[nn.Module, Record | None, LoadReport | None]


def _open(
    source: str, weights: Which, backbone: nn.Module | None, init: str | Path | None
) -> _Opened:
    path = fetch(source) if is_url(source) else Path(source).expanduser()
    if path.is_dir():
        path = _in_run(path, weights)
    if path.is_file():
        return _from_file(path, weights, backbone)
    if source in BACKBONES or source.startswith("timm/"):
        return _from_name(source, init)
    raise FileNotFoundError(
        f"There is no run folder or file {source!r}, nor a backbone of that name."
        f"{did_you_mean(source, BACKBONES)}"
    )


def _in_run(run: Path, weights: Which) -> Path:
    """The file of a run folder that holds the weights asked for."""
    if weights in _FILES and (run / _FILES[weights]).is_file():
        return run / _FILES[weights]
    if weights == "ema":
        raise FileNotFoundError(
            f"{run} has no {_FILES['ema']}: train with `callbacks: {{ema_weights: {{}}}}`."
        )
    return newest_checkpoint(run)


def _from_file(path: Path, weights: Which, backbone: nn.Module | None) -> _Opened:
    if path.suffix == ".ckpt":
        content = read_pickle(path)
        if isinstance(content, dict) and isinstance(content.get("sslight"), dict):
            return _from_checkpoint(path, content, weights, backbone)
    record = read_record(path) if path.suffix == ".safetensors" else None
    if record is None:
        return _from_foreign(path, backbone)
    network = backbone if backbone is not None else _rebuild(record.backbone, path)
    report = load_state(network, read_state(path), str(path))
    return see(as_backbone(network), record.sees), record, report


def _from_checkpoint(
    path: Path, content: dict[str, Any], weights: Which, backbone: nn.Module | None
) -> _Opened:
    """A training checkpoint of ours."""
    told = content["sslight"]
    spec = told.get("backbone")
    network = backbone
    if network is None:
        network = _rebuild(BackboneSpec(**spec) if spec else None, path)
    prefixes = told.get("prefixes", {"main": "backbone.", "student": "backbone."})
    if weights not in prefixes:
        raise ValueError(
            f"{path}: no {weights!r} weights in a checkpoint; it has {list(prefixes)}."
        )
    prefix = prefixes[weights]
    state = content["state_dict"]
    inside = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    report = load_state(network, inside, str(path))
    network = see(as_backbone(network), told.get("sees"))
    meta = {"epoch": content.get("epoch"), "step": content.get("global_step"), "weights": weights}
    width = int(network.embed_dim)  # type: ignore[arg-type]
    return network, Record(None, width, "", told.get("view"), meta), report


def _from_foreign(path: Path, backbone: nn.Module | None) -> _Opened:
    """Weights of another project: the network is the one given, or told by names and shapes."""
    state, assumed = read_state(path), ""
    if backbone is None:
        found = recognised(state)
        if found is None:
            raise ValueError(
                f"{path}: its names and shapes tell no network that sslight builds by name (first: "
                f"{', '.join(list(state)[:3])}). Name it, "
                f'load_backbone("timm/tf_efficientnet_lite0", init="{path}"), or give a module of '
                "your own: load_backbone(path, backbone=...)."
            )
        _, spec, assumed = found
        backbone = builder(spec.name)(**spec.kwargs)
    report = load_state(backbone, state, str(path))
    if assumed:
        report.notes.append(f"not told by the file, so assumed: {assumed}")
    return as_backbone(backbone), None, report


def _rebuild(spec: BackboneSpec | None, path: Path) -> nn.Module:
    if spec is None:
        raise ValueError(
            f"{path} does not say which network it belongs to (one of your own?). Build it and "
            "give it: load_backbone(path, backbone=...)."
        )
    network: nn.Module = builder(spec.name)(**spec.kwargs)
    return network


def _from_name(name: str, init: str | Path | None) -> _Opened:
    network: nn.Module = builder(name)()
    if init is None and any(True for _ in network.parameters()):
        raise ValueError(
            f"load_backbone({name!r}) would have random weights. Give init=<path or address>, or "
            'init="random" if that is what you want; for pretrained ones, '
            f'load_backbone(backbone({name!r}, weights="DEFAULT")).'
        )
    return network, None, init_backbone(network, init)
