"""The report in a headless Chromium: it draws, answers, and complains about nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import NAMES, Browser, find_browser

import sslight

CONFIG = {
    "method": {"name": "simclr", "hidden_dim": 8, "out_dim": 4},
    "backbone": {"name": "resnet18", "stem": "small", "width": 2},
    "data": {
        "train": {"name": "shapes", "num_images": 64, "size": 16},
        "test": {"name": "shapes", "num_images": 60, "size": 16},
        "views": {"name": "simclr", "size": "${data.test.size}"},
        "batch_size": 16,
        "workers": 0,
    },
    "optim": {"lr": 0.1},
    "trainer": {"max_epochs": 1, "accelerator": "cpu", "log_every_n_steps": 1},
    "callbacks": {"throughput": {}, "collapse": {}},
    "eval": {"knn": {"k": [5]}},
}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find_browser()
    if program is None:
        pytest.skip(
            f"no browser: none of {', '.join(NAMES)} is installed, $SSLIGHT_BROWSER not set"
        )
    opened = Browser(program, tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    sslight.fit(CONFIG, [f"run_dir={folder / 'a'}"])
    sslight.fit(CONFIG, [f"run_dir={folder / 'b'}", "optim.lr=0.2"])
    sslight.evaluate(folder / "a")
    runs = {"one": [folder / "a"], "gaps": [folder / "b"], "two": [folder / "a", folder / "b"]}
    return {name: sslight.report(r, folder / f"{name}.html").path for name, r in runs.items()}


@pytest.mark.parametrize("width", [1200, 390])
@pytest.mark.parametrize("name", ["one", "gaps", "two"])
def test_every_page_at_every_width(
    browser: Browser, pages: dict[str, Path], name: str, width: int
) -> None:
    browser.complaints.clear()
    browser.open(pages[name], width)
    assert browser.complaints == []
    assert browser.ask("document.querySelectorAll('.chart polyline.curve').length") >= 5
    assert browser.ask("document.documentElement.scrollWidth <= innerWidth"), "it overflows"


def test_clicks_and_keys(browser: Browser, pages: dict[str, Path]) -> None:
    browser.complaints.clear()
    browser.open(pages["one"])

    assert browser.ask("document.documentElement.dataset.theme") == "light"
    browser.click("#theme")
    assert browser.ask("document.documentElement.dataset.theme") == "dark"

    browser.move(*browser.place(".chart svg"))
    assert browser.ask("document.querySelectorAll('.chart .cursor').length") == 1
    browser.ask("document.querySelector('.chart svg').focus()")
    browser.press("ArrowLeft")
    browser.press("ArrowLeft")
    assert "step 1" in browser.ask("document.querySelector('.readout').textContent")

    browser.move(*browser.place(".map circle"))
    assert not browser.ask("document.querySelector('#tip').hidden")
    assert browser.ask("document.querySelectorAll('#tip .tile').length") == 1
    assert "shapes/test/" in browser.ask("document.querySelector('#tip').textContent")

    browser.click(".legend button")
    lit = "document.querySelectorAll('.map circle:not(.off)').length"
    assert browser.ask(lit) == 6
    browser.click(".legend button")
    assert browser.ask(lit) == 60

    browser.click("[data-filter=wrong]")
    shown = "[...document.querySelectorAll('.gallery li')].filter(e => e.offsetParent)"
    assert browser.ask(f"{shown}.every(e => e.className === 'wrong')")
    browser.click("[data-tab=resolved]")
    assert not browser.ask("document.querySelector('[data-pane=resolved]').hidden")
    assert browser.ask("document.querySelector('[data-pane=written]').hidden")
    assert browser.complaints == []


def test_a_copied_command_says_so(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["gaps"])
    browser.click("[data-copy]")
    assert browser.ask("document.querySelector('[data-copy]').textContent") == "Copied"


def test_dark_from_the_start(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["one"])
    browser.ask("localStorage.clear()")
    browser.open(pages["one"], dark=True)
    assert browser.ask("document.documentElement.dataset.theme") == "dark"


def test_a_mistake_would_be_heard(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "broken.html"
    page.write_text(
        "<script>console.error('one'); fetch('http://example.invalid/'); two()</script>"
    )
    browser.complaints.clear()
    browser.open(page)
    heard = " ".join(browser.complaints)
    assert "one" in heard
    assert "example.invalid" in heard
    assert "two is not defined" in heard
