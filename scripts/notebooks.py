"""Write docs/notebooks/*.ipynb from the scripts beside them (py:percent, as in jupytext).

A line ``# %%`` begins a cell of code, ``# %% [markdown]`` one of text in comments. The notebooks
have no outputs. Run ``python scripts/notebooks.py`` after changing a script.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
MARK = re.compile(r"^# %%( \[markdown\])?\n", re.MULTILINE)


class Cell(NamedTuple):
    """A cell: whether it is text, and what stands in it."""

    is_text: bool
    source: str


def scripts() -> list[Path]:
    """Return the scripts."""
    return sorted(FOLDER.glob("*.py"))


def cells(script: Path) -> list[Cell]:
    """Cut a script into its cells; what stands before the first mark is no part of it."""
    parts = MARK.split(script.read_text(encoding="utf-8"))[1:]
    return [
        Cell(bool(mark), _uncommented(body) if mark else body.strip("\n"))
        for mark, body in zip(parts[::2], parts[1::2], strict=True)
    ]


def _uncommented(body: str) -> str:
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in body.strip().splitlines())


def title(script: Path) -> str:
    """Return the heading of a script's first cell."""
    return cells(script)[0].source.splitlines()[0].removeprefix("# ")


def notebook(script: Path) -> str:
    """Return the notebook of a script as JSON, the same each time."""
    import nbformat
    from nbformat import v4

    made = v4.new_notebook(metadata={"language_info": {"name": "python"}})
    for number, cell in enumerate(cells(script)):
        new = v4.new_markdown_cell if cell.is_text else v4.new_code_cell
        made.cells.append(new(cell.source, id=f"cell-{number}"))
    nbformat.validate(made)
    return str(nbformat.writes(made)) + "\n"


def markdown(script: Path) -> str:
    """Return a script as a page."""
    parts = [
        cell.source if cell.is_text else f"```python\n{cell.source}\n```" for cell in cells(script)
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Write every notebook anew."""
    for script in scripts():
        script.with_suffix(".ipynb").write_text(notebook(script), encoding="utf-8")


if __name__ == "__main__":
    main()
