"""Backbones on disk: :func:`save_backbone`, :func:`load_backbone`, :func:`init_backbone`."""

from __future__ import annotations

from sslight.checkpoints.init import init_backbone
from sslight.checkpoints.load import load_backbone
from sslight.checkpoints.loaded import LoadedBackbone
from sslight.checkpoints.record import Record, method_record, weights_digest
from sslight.checkpoints.report import LoadReport
from sslight.checkpoints.save import save_backbone

__all__ = [
    "LoadReport",
    "LoadedBackbone",
    "Record",
    "init_backbone",
    "load_backbone",
    "method_record",
    "save_backbone",
    "weights_digest",
]
