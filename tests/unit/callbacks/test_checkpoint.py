"""Which checkpoints stay, and what is refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from sslight.callbacks.checkpoint import Checkpoint, checkpoint_name, checkpoints


@pytest.mark.parametrize(
    "arguments", [{"every_n_steps": 0}, {"every_n_epochs": -1}, {"keep_last": 0}]
)
def test_numbers_below_one_are_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        Checkpoint(**arguments)


def saved(callback: Checkpoint, folder: Path, scores: dict[int, float]) -> list[int]:
    """Save at each step with a score, and return the steps whose files stay."""
    for step, score in scores.items():
        trainer = SimpleNamespace(
            callback_metrics={"knn/top1": torch.tensor(score)},
            global_step=step,
            is_global_zero=True,
            save_checkpoint=lambda path, **_: Path(path).touch(),
        )
        callback._save(trainer, "batch")  # type: ignore[arg-type]
    return [int(path.stem.split("_")[1]) for path in checkpoints(folder)]


def test_the_last_ones_and_the_best_stay(tmp_path: Path) -> None:
    scores = {1: 0.2, 2: 0.9, 3: 0.5, 4: 0.6, 5: 0.9}
    callback = Checkpoint(keep_last=2, monitor="knn/top1", folder=tmp_path)
    assert saved(callback, tmp_path, scores) == [2, 4, 5]
    assert callback.state_dict() == {"best_value": pytest.approx(0.9), "best_step": 2}


def test_the_smallest_can_be_best(tmp_path: Path) -> None:
    callback = Checkpoint(keep_last=1, monitor="knn/top1", mode="min", folder=tmp_path)
    assert saved(callback, tmp_path, {1: 0.5, 2: 0.1, 3: 0.3}) == [2, 3]


def test_without_a_metric_only_the_last_stay(tmp_path: Path) -> None:
    callback = Checkpoint(keep_last=2, folder=tmp_path)
    assert saved(callback, tmp_path, dict.fromkeys(range(5), 0.0)) == [3, 4]


def test_names_sort_by_step_and_half_written_files_do_not_count(tmp_path: Path) -> None:
    for step in (100, 9):
        (tmp_path / checkpoint_name(step)).touch()
    (tmp_path / f"{checkpoint_name(200)}.tmp").touch()
    assert [path.name for path in checkpoints(tmp_path)] == [
        checkpoint_name(9),
        checkpoint_name(100),
    ]


def test_the_best_survives_a_resume() -> None:
    callback = Checkpoint(monitor="knn/top1")
    callback.load_state_dict({"best_value": 0.7, "best_step": 3})
    assert callback.state_dict() == {"best_value": 0.7, "best_step": 3}


@pytest.mark.parametrize(
    ("monitor", "said"), [("knn/top1", True), ("knn_val/top1", False), (None, False)]
)
def test_a_choice_on_test_images_is_said(monitor: str | None, said: bool, caplog) -> None:
    callback = Checkpoint(monitor=monitor)
    callback.on_train_start(SimpleNamespace(is_global_zero=True), None)  # type: ignore[arg-type]
    callback._stop.restore()
    assert any("chosen by knn/top1" in m for m in caplog.messages) == said


def test_a_monitor_that_is_never_logged_is_said(caplog) -> None:
    callback = Checkpoint(monitor="knn/top_1")
    callback.on_train_end(
        SimpleNamespace(is_global_zero=True, callback_metrics={"knn/top1": 0.5}),  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
    )
    assert any("never logged" in m and "knn/top1" in m for m in caplog.messages)
