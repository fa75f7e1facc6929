"""What MkDocs does not know of sslight's docs: README as the first page, links, the navigation.

Links are written for GitHub, relative to the file they stand in. On the site everything lies in one
folder, so ``docs/`` and ``../`` are taken away, and the files that they lead to are added.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

REPOSITORY = Path(__file__).parents[1]

#: Sections of the navigation: file -> title. A page that is not there yet is left out; one that is
#: not named here stands at the end.
SECTIONS: dict[str, dict[str, str]] = {
    "Start": {
        "index.md": "sslight",
        "start.md": "Five minutes",
        "choosing_a_method.md": "Choosing a method",
        "notebooks.md": "Notebooks",
        "troubleshooting.md": "Troubleshooting",
    },
    "Coming from": {"from_vissl.md": "VISSL", "from_lightly.md": "lightly"},
    "Use": {
        "config.md": "Configs",
        "data.md": "Data",
        "multi_gpu.md": "Devices, machines, SLURM",
        "evaluation.md": "Evaluation",
        "evaluation_stores.md": "Feature stores",
        "weights.md": "Weights",
        "export.md": "Export",
        "report.md": "The report",
        "python.md": "Python",
    },
    "Extend": {"extend.md": "Your own parts", "methods.md": "Methods"},
    "Reference": {
        "method_reference.md": "The methods, one by one",
        "exactness.md": "Exactness",
        "benchmarks.md": "Benchmarks",
        "ARCHITECTURE.md": "Architecture",
        "CHANGELOG.md": "Changes",
    },
}
#: Pages and files from beside docs/.
BESIDE = {"README.md": "index.md", "ARCHITECTURE.md": "ARCHITECTURE.md"}
BESIDE |= {"CHANGELOG.md": "CHANGELOG.md", "LICENSE": "LICENSE"}
LINK = re.compile(r"\]\((?!https?:|#)([^)\s]+)\)")
COMMENT = re.compile(r"^<!--.*?-->$", re.DOTALL | re.MULTILINE)


def on_files(files: Files, config: Any) -> Files:
    """Add what lies beside docs/: pages, scripts that pages link to, notebooks as pages."""
    for theirs, ours in BESIDE.items():
        files.append(_made(config, ours, (REPOSITORY / theirs).read_text(encoding="utf-8")))
    for script in sorted((REPOSITORY / "scripts").glob("*example*")):
        files.append(_made(config, f"scripts/{script.name}", script.read_text(encoding="utf-8")))
    notebooks = _notebooks()
    for script in notebooks.scripts():
        files.append(_made(config, f"notebooks/{script.stem}.md", notebooks.markdown(script)))
    return files


def on_nav(nav: Any, config: Any, files: Files) -> Any:
    """Put the pages that there are into sections."""
    from mkdocs.structure.nav import get_navigation

    if config.nav is None:
        config.nav = _navigation({file.src_uri for file in files.documentation_pages()})
        nav = get_navigation(files, config)
    return nav


def _navigation(there: set[str]) -> list[dict[str, Any]]:
    named = {page for pages in SECTIONS.values() for page in pages}
    found = [
        {section: [{title: page} for page, title in pages.items() if page in there]}
        for section, pages in SECTIONS.items()
    ]
    books = sorted(page for page in there if page.startswith("notebooks/"))
    rest = sorted(there - named - set(books))
    found[0]["Start"] += [{Path(page).stem.replace("_", " "): page} for page in books]
    return found + ([{"More": rest}] if rest else [])


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links of the repository into links of the site; take marks of tables away."""
    return LINK.sub(
        lambda found: f"]({link(found[1], page.file.src_uri)})", COMMENT.sub("", markdown)
    )


def link(target: str, page: str) -> str:
    """Return where a link leads on the site."""
    file, hash_, heading = target.partition("#")
    file = file.removeprefix("../").removeprefix("docs/")
    file = BESIDE.get(file, file)
    if file.startswith("notebooks/"):
        file = file.replace(".py", ".md").replace(".ipynb", ".md")
    if page.startswith("notebooks/") and not file.startswith("notebooks/"):
        file = f"../{file.removeprefix('../')}" if file else file
    return f"{file}{hash_}{heading}"


def _made(config: Any, name: str, content: str) -> File:
    return File.generated(config, name, content=content)


def _notebooks() -> Any:
    path = REPOSITORY / "scripts" / "notebooks.py"
    spec = importlib.util.spec_from_file_location("sslight_notebooks", path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
