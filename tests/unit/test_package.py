"""The package's front door: instant, complete, and helpful about names it does not have."""

from __future__ import annotations

import subprocess
import sys

import pytest
import pytorch_lightning  # noqa: F401  (sets environment variables when it is first imported)

import sslight


def test_importing_is_instant():
    heavy = {"torch", "numpy", "yaml", "omegaconf"}
    code = f"import sslight, sys; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", sslight.__all__)
def test_every_public_name_exists(name):
    assert getattr(sslight, name) is not None


def test_methods_are_public_names():
    assert sslight.SimCLR.__module__ == "sslight.methods.simclr"
    assert {"SimCLR", "BYOL", "Supervised", "Recipe"} <= set(dir(sslight))


def test_unknown_names_suggest():
    with pytest.raises(AttributeError, match="Did you mean 'SimCLR'"):
        sslight.SimCRL  # noqa: B018
    with pytest.raises(AttributeError):
        sslight.__wrapped__  # noqa: B018


def test_version():
    assert sslight.__version__[0].isdigit()
