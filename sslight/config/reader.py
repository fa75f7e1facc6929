"""Reads a config against annotations: one walk that checks, and builds if asked to."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from sslight.config import calls, hints, scalars, values
from sslight.config.errors import ConfigError, Problem

#: What reading returns where it has noted a problem.
FAILED = values.FAILED


class Reader:
    """Reads values as annotations want them, collecting every problem.

    Args:
        trust: Packages that ``package.module:Class`` may point into.
        make: Build objects; otherwise mappings stay mappings and only scalars are converted.
        origins: Where each key was written.
    """

    def __init__(
        self,
        trust: Iterable[str] = (),
        *,
        make: bool = False,
        origins: Mapping[str, str] | None = None,
    ) -> None:
        self.trust = tuple(trust)
        self.make = make
        self.origins = origins or {}
        self.problems: list[Problem] = []
        self.cause: Exception | None = None

    def read(self, key: str, value: Any, hint: Any) -> Any:
        """Return ``value`` as ``hint`` wants it, or note why that cannot be."""
        if isinstance(value, str) and value == scalars.MISSING:
            return self.fail(
                key,
                f"must be given (the config says ???); expected {hints.describe(hint)}. "
                f"Write it there, or {key}=VALUE on the command line.",
            )
        options = hints.options(hint)
        if any(option in (Any, object, inspect.Parameter.empty) for option in options):
            return values.anything(self, key, value)
        if len(options) > 1:
            return values.union(self, key, value, hint)
        return self._one(key, value, options[0])

    def _one(self, key: str, value: Any, hint: Any) -> Any:
        if values.is_object(value, hint):
            return value
        if (family := hints.family(hint)) is not None:
            return calls.member(self, key, value, family)
        if hints.is_record(hint):
            return calls.record(self, key, value, hint)
        return values.plain(self, key, value, hint)

    def fail(self, key: str, message: str) -> Any:
        """Note a problem and return ``FAILED``."""
        self.problems.append(Problem(key, message, self.origin(key)))
        return FAILED

    def origin(self, key: str) -> str:
        """Return where a key, or the nearest one around it, was written."""
        while key not in self.origins and "." in key:
            key = key.rpartition(".")[0]
        return self.origins.get(key, "")

    def attempt(self, *, make: bool | None = None) -> Reader:
        """Return a reader with the same settings and no problems yet."""
        make = self.make if make is None else make
        return Reader(self.trust, make=make, origins=self.origins)

    def adopt(self, other: Reader) -> Any:
        """Take over another reader's problems and return ``FAILED``."""
        self.problems += other.problems
        self.cause = self.cause or other.cause
        return FAILED

    def stop_if_failed(self) -> None:
        """Raise what was found.

        Raises:
            ConfigError: There are problems.
        """
        if self.problems:
            raise ConfigError(self.problems) from self.cause
