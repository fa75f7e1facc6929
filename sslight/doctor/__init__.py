"""``sslight check --run``: look at images, draw views, run a few real steps, say what helps.

The files here take objects and return figures; :func:`sslight.run.examine` goes from a config to
them. :mod:`advice` turns figures into sentences and computes nothing else.
"""

from __future__ import annotations

from sslight.doctor.words import Finding

__all__ = ["Finding"]
