"""Errors that a user's command causes: the command line ends with exit code 2 on them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class RefusedRunError(ValueError):
    """What was asked for cannot be run; the message says where, why, and what to write instead."""


@contextmanager
def refusing(*kinds: type[Exception]) -> Iterator[None]:
    """Turn errors into :class:`RefusedRunError`, where only files or words can cause them.

    Args:
        *kinds: Which errors; by default those that a missing file, a wrong value and a missing
            package cause.
    """
    kinds = kinds or (ValueError, OSError, ImportError)
    try:
        yield
    except RefusedRunError:
        raise
    except kinds as error:
        # A KeyError's text is its key, in quotes; ours are sentences.
        text = error.args[0] if isinstance(error, KeyError) and error.args else error
        raise RefusedRunError(str(text).strip()) from error
