"""Errors that a user's command causes: the command line ends with exit code 2 on them."""

from __future__ import annotations


class RefusedRun(ValueError):
    """What was asked for cannot be run; the message says where, why, and what to write instead."""
