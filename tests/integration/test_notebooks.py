"""The notebooks run as the scripts they are kept as, and the .ipynb say the same."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from types import ModuleType

import pytest
from doc_pages import REPOSITORY, script

SCRIPTS = sorted((REPOSITORY / "docs" / "notebooks").glob("*.py"))


@pytest.fixture(scope="module")
def notebooks() -> ModuleType:
    return script("notebooks")


def test_there_are_four() -> None:
    assert len(SCRIPTS) == 4


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_it_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, since importing takes longer than three steps."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STEPS", "3")
    monkeypatch.setenv("SSLIGHT_CACHE", str(tmp_path / "cache"))
    runpy.run_path(str(path))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_the_notebook_is_the_script(path: Path, notebooks: ModuleType) -> None:
    pytest.importorskip("nbformat")
    shown = path.with_suffix(".ipynb").read_text(encoding="utf-8")
    assert shown == notebooks.notebook(path), "run `python scripts/notebooks.py`"
    cells = json.loads(shown)["cells"]
    assert not any(cell.get("outputs") for cell in cells)
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    compile(code, str(path), "exec")


def test_cells(tmp_path: Path, notebooks: ModuleType) -> None:
    path = tmp_path / "x.py"
    path.write_text('"""No cell."""\n\n# %% [markdown]\n# # Title\n#\n# Text.\n\n# %%\na = 1\n')
    assert [tuple(cell) for cell in notebooks.cells(path)] == [
        (True, "# Title\n\nText."),
        (False, "a = 1"),
    ]
    assert notebooks.title(path) == "Title"
    assert "```python\na = 1\n```" in notebooks.markdown(path)
