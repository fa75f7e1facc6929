"""The view in which a backbone wants its images: what its file, its library or its size says."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from sslight.backbones.spec import spec_of
from sslight.checkpoints.formats import read_pickle
from sslight.checkpoints.record import read_record, view_of


def recorded_view(path: str | Path) -> Any:
    """Return the evaluation view that a weight file of ours was written with, or None.

    Args:
        path: A ``.safetensors`` or ``.ckpt`` file, or a run's folder; anything else gives None.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        file = file / "backbone.safetensors"
    if not file.is_file():
        return None
    if file.suffix == ".safetensors":
        record = read_record(file)
        return view_of(record.view) if record else None
    if file.suffix == ".ckpt":
        return view_of((read_pickle(file).get("sslight") or {}).get("view"))
    return None


def own_view(backbone: nn.Module) -> Any:
    """Return the view that a pretrained network's library tests it in, or one of its image size.

    None where neither is known: a convolutional network takes images of any size.
    """
    spec = spec_of(backbone)
    weights = spec.kwargs.get("weights") if spec else None
    if spec and weights:
        return _torchvision_view(spec.name, str(weights), spec.kwargs.get("image_size"))
    config = getattr(backbone, "pretrained_cfg", None)
    if isinstance(config, Mapping) and "input_size" in config:
        return _timm_view(config, spec.kwargs.get("image_size") if spec else None)
    size = getattr(backbone, "image_size", None)
    return _eval_view(size=size) if isinstance(size, int) else None


def _torchvision_view(arch: str, weights: str, size: int | None) -> Any:
    from torchvision.models import get_model_weights

    told = get_model_weights(arch)[weights].transforms()
    crop, shorter = int(told.crop_size[0]), int(told.resize_size[0])
    if size is not None and size != crop:
        crop, shorter = size, round(size * shorter / crop)
    view = _eval_view(size=crop, resize=shorter, mean=tuple(told.mean), std=tuple(told.std))
    return _interpolated(view, told.interpolation.value)


def _timm_view(config: Mapping[str, Any], size: int | None) -> Any:
    side = size or int(config["input_size"][-1])
    view = _eval_view(
        size=side,
        resize=int(side / float(config.get("crop_pct") or 0.875)),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )
    return _interpolated(view, str(config.get("interpolation", "bilinear")))


def _eval_view(**options: Any) -> Any:
    from sslight.augment.presets import PRESETS

    return PRESETS["eval"](**options)[0]


def _interpolated(view: Any, interpolation: str) -> Any:
    kind = interpolation if interpolation in ("bilinear", "bicubic") else "bilinear"
    return dataclasses.replace(view, interpolation=kind)
