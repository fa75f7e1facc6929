"""The package's front door: instant, complete, and helpful about names it does not have."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

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


def test_editors_and_type_checkers_see_every_public_name():
    """The block for type checkers imports what ``__getattr__`` gives, from a module that has it."""
    tree = ast.parse(Path(sslight.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert sorted(seen) == sslight.__all__
    for name, module in seen.items():
        assert getattr(importlib.import_module(module), name) is getattr(sslight, name)


def test_the_package_says_that_it_is_typed():
    assert (Path(sslight.__file__).parent / "py.typed").is_file()
