"""Whether a run goes on, starts or must not, and what may differ."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sslight import resume

CONFIG = {
    "seed": 0,
    "method": {"name": "simclr", "temperature": 0.1},
    "data": {"train": {"name": "folder", "root": "/a"}, "batch_size": 8, "workers": 1},
    "trainer": {"max_epochs": 10, "devices": 1},
    "callbacks": {"knn": {"k": 20}},
}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("RANK", "LOCAL_RANK", "SLURM_PROCID", "SSLIGHT_RESUME_FROM"):
        monkeypatch.delenv(key, raising=False)


def changed(path: str, value: object) -> dict[str, object]:
    import copy

    config = copy.deepcopy(CONFIG)
    *parents, leaf = path.split(".")
    node = config
    for parent in parents:
        node = node.setdefault(parent, {})  # type: ignore[assignment]
    node[leaf] = value  # type: ignore[assignment]
    return config


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("method.temperature", 0.2),
        ("data.batch_size", 16),
        ("data.decode", "draft"),
        ("trainer.max_epochs", 20),
        ("seed", 1),
        ("optim.lr", 0.5),
        ("callbacks.ema_weights", {"decay": 0.9}),
    ],
)
def test_what_touches_the_weights_is_compared(key: str, value: object) -> None:
    stored = resume.identity(CONFIG, {})
    found = resume.differences(stored, changed(key, value))
    assert len(found) == 1
    assert found[0].startswith(key)
    assert not resume.differences(stored, changed(key, value), accept=[key])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data.workers", 7),
        ("data.cache", "ram"),
        ("data.train.root", "/b"),
        ("trainer.devices", 4),
        ("callbacks.knn.k", 5),
        ("run_dir", "elsewhere"),
    ],
)
def test_what_does_not_touch_them_is_free(key: str, value: object) -> None:
    assert not resume.differences(resume.identity(CONFIG, {}), changed(key, value))


def test_other_images_are_noticed_by_their_hash() -> None:
    stored = resume.identity(CONFIG, {"train": "aa", "test": "bb"})
    assert not resume.index_differences(stored, {"train": "aa"})
    assert resume.index_differences(stored, {"train": "cc"}) == [
        "data.train: the images or their labels are not those that the run was started on"
    ]
    assert not resume.index_differences(stored, {"train": "cc"}, accept=["data.train"])


def test_the_refusal_gives_the_ways_out(tmp_path: Path) -> None:
    lines = ["trainer.max_epochs: the run has 10, the command says 20"]
    with pytest.raises(resume.ResumeError, match=r"(?s)has 10.*--accept trainer.max_epochs"):
        resume.refuse(tmp_path, lines)
    resume.refuse(tmp_path, [])


def test_policies(tmp_path: Path) -> None:
    with pytest.raises(resume.ResumeError, match="no checkpoint"):
        resume.decide(tmp_path / "new", "must")
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    for name in ("step_000000002.ckpt", "step_000000010.ckpt", "step_000000012.ckpt.tmp"):
        (folder / name).touch()
    with pytest.raises(resume.ResumeError, match="already holds a run"):
        resume.decide(tmp_path / "run", "never")
    start = resume.decide(tmp_path / "run", "auto")
    assert start.checkpoint == folder / "step_000000010.ckpt"
    resume.release(start)


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from pathlib import Path; from sslight import resume;"
            "start = resume.decide(Path(sys.argv[1]), 'auto'); print('held', flush=True);"
            "sys.stdin.read()",
            str(tmp_path),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout
    assert holder.stdin
    assert holder.stdout.readline().strip() == "held"
    with pytest.raises(resume.ResumeError, match="Another process"):
        resume.decide(tmp_path, "auto")
    holder.stdin.close()
    holder.wait(timeout=30)
    resume.release(resume.decide(tmp_path, "auto"))


def test_other_ranks_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("SSLIGHT_RESUME_FROM", "")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "step_000000002.ckpt").touch()
    assert resume.decide(tmp_path, "auto").checkpoint is None
    monkeypatch.setenv("SSLIGHT_RESUME_FROM", "x.ckpt")
    assert resume.decide(tmp_path, "auto").checkpoint == Path("x.ckpt")


def test_a_damaged_checkpoint_is_named_with_the_way_out(tmp_path: Path) -> None:
    junk, older = tmp_path / "step_000000009.ckpt", tmp_path / "step_000000004.ckpt"
    junk.write_bytes(b"junk")
    with pytest.raises(resume.ResumeError, match=r"000009.ckpt is damaged.* then starts anew"):
        resume.read_identity(junk)
    torch.save({"weights": 1}, older)
    with pytest.raises(resume.ResumeError, match=r"then goes on from step_000000004"):
        resume.read_identity(junk)
    with pytest.raises(resume.ResumeError, match="no checkpoint of sslight"):
        resume.read_identity(older)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(resume.ResumeError, match=r"run_dir: the folder .* cannot be made"):
        resume.decide(tmp_path / "file", "auto")


def test_what_only_one_side_says_is_shown_as_nothing() -> None:
    found = resume.differences(resume.identity(CONFIG, {}), changed("optim.lr", 0.5))
    assert found == ["optim.lr: the run has nothing, the command says 0.5"]
