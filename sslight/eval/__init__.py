"""Evaluation protocols: each is a class with its options and ``evaluate(subject) -> Result``."""

from __future__ import annotations

from sslight.eval.base import Result, Subject

__all__ = ["Result", "Subject"]
