from __future__ import annotations

import subprocess
import sys

import pytest

from sslight import registry
from sslight.registry import UnknownNameError, listing


def test_sections_cover_every_family():
    assert set(listing.SECTIONS.values()) == {*registry.FAMILIES, "configs"}


@pytest.mark.parametrize("word", ["method", "methods", "Methods"])
def test_singular_and_plural(word, house):
    assert listing.listing(word) == "methods:\n  mo_co  Momentum contrast of two views."


def test_markdown(house):
    assert listing.listing("evals", markdown=True).splitlines() == [
        "| evals | |",
        "|---|---|",
        "| `knn` | Vote. |",
    ]


def test_unknown_sections_suggest():
    with pytest.raises(UnknownNameError, match=r"cannot list 'metods'. Did you mean 'methods'"):
        listing.listing("metods")


def test_configs_are_described_by_their_first_comment(tmp_path, monkeypatch):
    from importlib import import_module

    (tmp_path / "_base_").mkdir()
    (tmp_path / "_base_" / "b.yaml").write_text("seed: 1\n")
    for_editors = "# yaml-language-server: $schema=schema.json\n"
    (tmp_path / "slow.yaml").write_text(f"{for_editors}# A day on one.\nseed: 1\n")
    (tmp_path / "bare.yaml").write_text("seed: 1\n")
    (tmp_path / "quick.yaml").write_text("# Four minutes on two cores.\nseed: 1\n")
    monkeypatch.setattr(import_module("sslight.config.compose"), "SHIPPED", (tmp_path,))
    assert listing.rows("configs") == [
        ("bare", ""),
        ("quick", "Four minutes on two cores."),
        ("slow", "A day on one."),
    ]


def test_every_member_that_ships_has_a_line_from_its_docstring():
    for family in ("method", "source", "callback", "eval", "schedule", "views"):
        found = {name: registry.summary(family, name) for name in registry.names(family)}
        assert found
        assert all(found.values()), found


def test_listing_files_imports_no_torch():
    code = (
        "import sys; from sslight.registry.listing import listing\n"
        "for name in ('methods', 'sources', 'callbacks', 'evals', 'schedules', 'backbones'):\n"
        "    listing(name)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
