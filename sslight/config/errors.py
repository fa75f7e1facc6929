"""What is wrong with a config: a list of sentences, all of them at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sslight.errors import RefusedRunError


@dataclass(frozen=True)
class Problem:
    """One mistake.

    Attributes:
        key: The full key, ``method.temperature``; empty where there is none.
        message: What came, what is allowed, what to do.
        origin: Where the key was written: ``my.yaml:3`` or ``command line``; empty if unknown.
    """

    key: str
    message: str
    origin: str = ""

    def __str__(self) -> str:
        """Return the problem as one line."""
        parts = [part for part in (self.origin, self.key, self.message) if part]
        return " ".join(": ".join(parts).split())


class ConfigError(RefusedRunError):
    """A config that cannot be used; its text is one line per problem."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))
