"""VISSL's YAML files to sslight's, with an account of what could not be carried over."""

from __future__ import annotations

from sslight.convert.vissl import Conversion, convert
from sslight.convert.vissl_tree import Note, NotVisslError

__all__ = ["Conversion", "NotVisslError", "Note", "convert"]
