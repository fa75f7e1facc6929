"""The site of docs/ builds without a warning, and holds every page."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


def build(folder: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(out)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    out = tmp_path_factory.mktemp("site")
    done = build(REPOSITORY, out)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_every_page_is_in_it(site: Path) -> None:
    pages = [*(REPOSITORY / "docs").glob("*.md"), REPOSITORY / "ARCHITECTURE.md"]
    notebooks = sorted((REPOSITORY / "docs" / "notebooks").glob("*.py"))
    assert len(notebooks) == 4
    for name in [
        "index",
        *(page.stem for page in pages),
        *(f"notebooks/{n.stem}" for n in notebooks),
    ]:
        assert (site / f"{name}.html").exists(), name


def test_tables_are_tables_and_marks_are_gone(site: Path) -> None:
    text = (site / "config.html").read_text()
    assert text.count("<table") > 10
    assert "keys: data" not in text


def test_links_of_the_readme_lead_to_pages(site: Path) -> None:
    text = (site / "index.html").read_text()
    assert 'href="multi_gpu.html"' in text
    assert 'href="docs/' not in text
    assert (site / "scripts" / "slurm_example.sbatch").exists()


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    text = (site / "index.html").read_text()
    assert "fonts.googleapis" not in text
    assert 'src="http' not in text


def test_a_dead_link_is_an_error(tmp_path: Path) -> None:
    pytest.importorskip("material")
    for name in ("docs", "scripts", "mkdocs.yml", "README.md", "ARCHITECTURE.md", "CHANGELOG.md"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    (tmp_path / "LICENSE").symlink_to(REPOSITORY / "LICENSE")
    (tmp_path / "docs").unlink()
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "data.md").write_text("# Data\n\n[gone](nowhere.md)\n")
    done = build(tmp_path, tmp_path / "out")
    assert done.returncode != 0
    assert "nowhere.md" in done.stdout + done.stderr
