"""Folders that one process fills and others wait for; in memory they end with their users."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from sslight.data import shelf
from sslight.data.shelf import MemoryHome, Shelf
from sslight.errors import RefusedRunError

FORK = multiprocessing.get_context("fork")


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "shm").mkdir()
    monkeypatch.setattr(shelf, "MEMORY", tmp_path / "shm")
    return tmp_path / "shm"


def homes(memory: Path) -> list[str]:
    return sorted(path.name for path in memory.glob("sslight-*/*") if path.is_dir())


def finish(folder: Path) -> None:
    (folder / "meta.json").write_text("{}")


def _begin_and_stop(place: Shelf) -> None:
    with place.filling() as folder:
        assert folder is not None
        (folder / "part").write_text("x")
        finish(folder)
        raise ValueError("stopped")


def test_nothing_is_found_until_all_is_there(tmp_path: Path) -> None:
    place = Shelf(tmp_path / "a" / "b", "cats")
    with pytest.raises(ValueError, match="stopped"):
        _begin_and_stop(place)
    assert place.find() is None
    with place.filling() as folder:
        assert folder is not None
        assert (folder / "part").read_text() == "x"  # the next goes on with it
        finish(folder)
    assert place.find() == tmp_path / "a" / "b" / "cats"
    with place.filling() as folder:
        assert folder is None
    assert Shelf(tmp_path / "a" / "b", "dogs").find() is None


def test_half_removed_is_filled_again(tmp_path: Path) -> None:
    place = Shelf(tmp_path, "cats")
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "pixels").write_text("x")
    with place.filling() as folder:
        assert folder is not None
        finish(folder)
    assert [path.name for path in (tmp_path / "cats").iterdir()] == ["meta.json"]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(RefusedRunError, match=r"data\.cache.*file/x"),
        Shelf(tmp_path / "file" / "x", "cats").filling(),
    ):
        pass


def test_without_locks_everyone_fills_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: Any) -> None:
        raise OSError

    monkeypatch.setattr(shelf.fcntl, "flock", no_locks)
    one, other = Shelf(tmp_path, "cats"), Shelf(tmp_path, "cats")
    monkeypatch.setattr(shelf.os, "getpid", lambda: 1)
    with one.filling() as mine:
        monkeypatch.setattr(shelf.os, "getpid", lambda: 2)
        with other.filling() as theirs:
            assert mine is not None
            assert theirs is not None
            assert mine != theirs
            finish(theirs)
        finish(mine)
    assert one.find() is not None


def _fill(base: Path, answers: Any) -> None:
    with Shelf(base, "cats").filling() as folder:
        answers.put("waited" if folder is None else "filled")
        if folder is not None:
            finish(folder)


def test_of_several_processes_one_fills(tmp_path: Path) -> None:
    answers = FORK.Queue()
    workers = [FORK.Process(target=_fill, args=(tmp_path, answers)) for _ in range(3)]
    for worker in workers:
        worker.start()
    assert sorted(answers.get(timeout=30) for _ in workers) == ["filled", "waited", "waited"]
    for worker in workers:
        worker.join(30)


def test_memory_is_given_back_by_the_last_user(memory: Path) -> None:
    assert MemoryHome("cats").join(create=False) is None
    first, second = MemoryHome("cats"), MemoryHome("cats")
    folder = first.join(create=True)
    assert folder == first.join(create=True) == second.join(create=False)
    assert homes(memory) == ["cats"]
    first.leave()
    first.leave()
    assert homes(memory) == ["cats"]
    second.leave()
    assert homes(memory) == []


def test_it_is_given_back_when_nothing_refers_to_it(memory: Path) -> None:
    home = MemoryHome("cats")
    home.join(create=True)
    child = FORK.Process(target=home.leave)  # a worker must not take it from its parent
    child.start()
    child.join(30)
    assert homes(memory) == ["cats"]
    del home
    assert homes(memory) == []


def _join_and_die() -> None:
    home = MemoryHome("dead")
    home.join(create=True)
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_killed_processes_left_is_removed_by_the_next(memory: Path) -> None:
    child = FORK.Process(target=_join_and_die)
    child.start()
    child.join(30)
    assert homes(memory) == ["dead"]
    living, new = MemoryHome("living"), MemoryHome("new")
    living.join(create=True)
    new.join(create=True)
    assert homes(memory) == ["living", "new"]


def test_a_system_without_such_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shelf, "MEMORY", tmp_path / "none")
    with pytest.raises(RefusedRunError, match="Give a folder"):
        MemoryHome("cats")


def test_somebody_else_s_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf.os, "getuid", lambda: 12345)
    with pytest.raises(RefusedRunError, match="belongs to another user"):
        MemoryHome("cats").join(create=True)
