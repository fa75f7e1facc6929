"""YAML in, objects out: compose, check, build. The constructors' signatures are the schema."""

from __future__ import annotations

from sslight.config.build import build, build_members, make, trainer_arguments
from sslight.config.check import check, checked
from sslight.config.compose import Config, compose, find, load, save, shipped
from sslight.config.errors import ConfigError, Problem
from sslight.config.merge import flatten
from sslight.config.sections import SECTIONS

__all__ = [
    "SECTIONS",
    "Config",
    "ConfigError",
    "Problem",
    "build",
    "build_members",
    "check",
    "checked",
    "compose",
    "find",
    "flatten",
    "load",
    "make",
    "save",
    "shipped",
    "trainer_arguments",
]
