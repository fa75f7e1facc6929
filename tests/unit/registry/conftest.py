"""A package of members on disk, and families that look for theirs in it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import pytorch_lightning  # noqa: F401  (sets environment variables when it is first imported)

from sslight.registry import FAMILIES, Family, foreign

FILES = {
    "__init__.py": "",
    "methods/__init__.py": "raise RuntimeError('listing must not import')",
    "methods/base.py": "class Base: ...",
    "methods/_private.py": "class Private: ...",
    "methods/notes.py": "x = 1",
    "methods/mo_co.py": (
        "class Helper: ...\n"
        "class MoCo:\n"
        '    """Momentum contrast\n    of two views.\n\n    More."""\n'
        "    def __init__(self, backbone, optim=None, *, queue: int = 8): ...\n"
    ),
    "evals/__init__.py": "",
    "evals/knn.py": "def evaluate(subject, *, k: int = 20):\n    '''Vote.'''\n",
    "steps.py": (
        "from house_fake.evals.knn import evaluate\n"
        "def plain(method, batch):\n    '''Plainly.'''\n"
        "STEPS: dict = {'plain': plain, 'lazy': 'house_fake.evals.knn:evaluate', 'far': evaluate}\n"
    ),
    "dynamic.py": "TABLE = {**{name: f'house_fake.steps:{name}' for name in ['plain']}}\n",
    "again.py": "from .steps import STEPS\n",
}
MINE = {
    "__init__.py": "",
    "parts.py": (
        "import os\nfrom os import system\nfrom torch import load\nfrom torch.nn import Linear\n"
        "import functools\npart = functools.partial(system)\n"
        "def build(*, width: int = 4): ...\n"
        "def loose(**kwargs): ...\n"
        "class Thing:\n    def __init__(self, a: int = 1): ...\n"
    ),
    "broken.py": "import a_package_that_is_not_there\n",
}


def _write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.fixture
def house(tmp_path, monkeypatch):
    """Families whose members live in a package on disk, and a package ``mine_fake`` of a user."""
    _write(tmp_path / "house_fake", FILES)
    _write(tmp_path / "mine_fake", MINE)
    monkeypatch.syspath_prepend(tmp_path)
    families = [
        Family("method", "house_fake.methods", injected=frozenset({"backbone", "optim"})),
        Family("eval", "house_fake.evals", injected=frozenset({"subject"})),
        Family("train_step", "house_fake.steps", "STEPS", injected=frozenset({"method", "batch"})),
        Family("views", "house_fake.dynamic", "TABLE"),
        Family("source", "house_fake.nowhere"),
        Family("schedule", "house_fake.again", "STEPS"),
    ]
    for family in families:
        monkeypatch.setitem(FAMILIES, family.name, family)
    cached = foreign.entry_points
    cached.cache_clear()
    yield tmp_path
    cached.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] in ("house_fake", "mine_fake")]:
        del sys.modules[name]
