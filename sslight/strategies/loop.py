"""Where Lightning's training loop stands, read from its private counters.

Seen in pytorch-lightning 2.6.0 to 2.6.6.
"""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch


def batches_done(trainer: pl.Trainer) -> int:
    """Return how many (micro-)batches were started before this one, over all epochs.

    Restored on resume, so it names the same batch in a resumed run as in a straight one.
    """
    return max(int(trainer.fit_loop.epoch_loop.total_batch_idx), 0)


def loader_position(trainer: pl.Trainer) -> tuple[int, int]:
    """Return (epoch, micro-batches of it already trained on), once every loop is restored."""
    ready = trainer.fit_loop.epoch_loop.batch_progress.current.ready
    epoch = trainer.current_epoch
    # The counters may still stand at the last epoch's end when the next one's first batch is due.
    return (epoch, 0) if ready >= trainer.num_training_batches else (epoch, int(ready))


def batches_per_epoch(trainer: pl.Trainer) -> int | float:
    """Return the micro-batches of an epoch; Lightning has not counted them before the first one."""
    if trainer.train_dataloader is None:
        trainer.fit_loop.setup_data()
    return trainer.num_training_batches


def is_accumulating(trainer: pl.Trainer) -> bool:
    """Tell whether the optimizer does not step after this micro-batch."""
    return bool(trainer.fit_loop._should_accumulate())


def is_logging_step(trainer: pl.Trainer) -> bool:
    """Tell whether this batch ends with a row in the logs."""
    if is_accumulating(trainer):
        return False
    return bool(trainer._logger_connector.should_update_logs or is_trial(trainer))


def is_trial(trainer: pl.Trainer) -> bool:
    """Tell whether this is a ``fast_dev_run``."""
    return bool(getattr(trainer, "fast_dev_run", False))


def plain_batch_size(trainer: pl.Trainer) -> int:
    """Return the batch size of a plain DataLoader (training without an SSLDataModule)."""
    batches_per_epoch(trainer)
    size = getattr(trainer.train_dataloader, "batch_size", None)
    if size is None:
        raise ValueError(
            "The training loader has no batch_size, so the learning rate cannot be scaled. "
            "Use an SSLDataModule or a DataLoader(batch_size=...)."
        )
    return int(size)


def seed_device(seed: int, device: torch.device) -> None:
    """Seed the generators that layers draw from (dropout, drop path) on the CPU and on ``device``.

    ``torch.manual_seed`` would seed every device and costs 0.2 ms a step.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)


def rewind_fetched_batch(checkpoint: dict[str, Any]) -> None:
    """Make a checkpoint taken in ``on_train_batch_start`` one of the moment before its batch.

    That hook is the first one after the previous step's row was logged and its validation run, but
    Lightning has counted the new batch as fetched by then.
    """
    progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    for scope in ("total", "current"):
        progress[scope]["ready"] -= 1
    progress["is_last_batch"] = False


def settle_epoch(trainer: pl.Trainer, checkpoint: dict[str, Any]) -> None:
    """Make a checkpoint taken in ``on_train_epoch_end`` one of the moment between two epochs.

    Lightning has not closed the epoch at that hook; with ``max_steps`` it would go through the
    finished epoch once more on resume, without a batch. If ``max_steps`` ended training within an
    epoch, that epoch stays open, for a run that is allowed to go on.
    """
    loop = checkpoint["loops"]["fit_loop"]
    progress, batches = loop["epoch_progress"], loop["epoch_loop.batch_progress"]
    whole = batches["current"]["ready"] >= trainer.num_training_batches
    for scope in ("total", "current"):
        if whole:
            progress[scope]["completed"] = progress[scope]["processed"]
        else:
            progress[scope]["processed"] -= 1
    if whole:
        batches["current"] = dict.fromkeys(batches["current"], 0)
        batches["is_last_batch"] = False
