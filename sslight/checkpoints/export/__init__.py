"""Weights out: one file per format, each a :class:`~sslight.checkpoints.export.base.Format`.

A format is the class whose name is the file's; a new one is a new file. What is the same for all of
them, writing, checking in a fresh process and the model card, is in the files with a leading ``_``.
"""

from __future__ import annotations

from sslight.checkpoints.export._card import Provenance
from sslight.checkpoints.export._writing import Exported, write_export

__all__ = ["Exported", "Provenance", "write_export"]
