from __future__ import annotations

import pytest

from sslight.config import ConfigError, Problem
from sslight.errors import RefusedRunError, refusing


@pytest.mark.parametrize("error", [ValueError("x "), FileNotFoundError("x"), ImportError("x")])
def test_what_a_user_causes_becomes_a_refusal(error: Exception) -> None:
    with pytest.raises(RefusedRunError, match=r"^x$") as caught, refusing():
        raise error
    assert caught.value.__cause__ is error


def test_other_errors_and_refusals_pass_through() -> None:
    with pytest.raises(KeyError), refusing():
        raise KeyError("a bug")
    with pytest.raises(ValueError, match="mine") as caught, refusing(OSError):
        raise ValueError("mine")
    assert not isinstance(caught.value, RefusedRunError)
    refusal = ConfigError([Problem("a", "b")])
    with pytest.raises(ConfigError) as same, refusing():
        raise refusal
    assert same.value is refusal
