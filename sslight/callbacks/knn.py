"""Online k-nearest-neighbour accuracy of the frozen backbone."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from sslight.callbacks._common import as_labels, label_trouble, say, switch_off, total_over_ranks
from sslight.callbacks.ema_weights import evaluation_weights
from sslight.distributed import rank, world_size
from sslight.eval.votes import Tally, count_right


class KNN(pl.Callback):
    """Classify a split by the clean train features nearest to it, every n epochs.

    Features come from ``dataset_features`` (clean view, evaluation mode, float32, L2-normalised);
    the protocol is that of :mod:`sslight.eval.votes`. It runs once per due epoch: with the
    validation that ends the epoch, or after the epoch's last batch where there is none, and after
    the last epoch. Averaged weights (``ema_weights`` with ``evaluate``) are what is measured if
    there are any. The queries are sharded over ranks and counts are summed, so no row counts twice.

    Logs ``knn/top1`` and ``knn/top5`` (``knn_<split>/...`` for a split other than ``test``) for the
    first k and temperature, and ``knn/top1_k<k>_t<T>`` for each combination if there are several.

    Args:
        k: Neighbours, one number or several.
        temperature: Temperature of the votes ``exp(similarity / T)``, one or several.
        every_n_epochs: Epochs between measurements.
        split: The split to classify.
        max_train: Use at most this many labelled train images, a fixed draw from the seed.
    """

    def __init__(
        self,
        k: int | list[int] = 20,
        temperature: float | list[float] = 0.07,
        every_n_epochs: int = 1,
        split: str = "test",
        max_train: int | None = None,
    ) -> None:
        self.k = [k] if isinstance(k, int) else list(k)
        self.temperature = (
            list(temperature) if isinstance(temperature, (list, tuple)) else [temperature]
        )
        if not self.k or min(self.k) < 1 or not self.temperature or min(self.temperature) <= 0:
            raise ValueError(
                f"callback knn: got k={k} and temperature={temperature}; give k >= 1 and "
                "temperature > 0, e.g. k=20, temperature=0.07."
            )
        if every_n_epochs < 1 or (max_train is not None and max_train < 1):
            raise ValueError(
                f"callback knn: got every_n_epochs={every_n_epochs} and max_train={max_train}; "
                "both count from 1 (max_train=null for all)."
            )
        self.every_n_epochs = every_n_epochs
        self.split = split
        self.max_train = max_train
        self.off = False
        self._measured_at: tuple[int, int] | None = None  # (epoch, finished optimizer steps)

    @property
    def state_key(self) -> str:
        """Tell apart two of these on different splits."""
        return self._generate_state_key(split=self.split)

    def state_dict(self) -> dict[str, Any]:
        """Return when it ran last, so that a resumed run does not repeat it."""
        return {"measured_at": list(self._measured_at) if self._measured_at else None}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up when it ran last."""
        at = state_dict["measured_at"]
        self._measured_at = (at[0], at[1]) if at else None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Forget an earlier fit; the state of a resumed one is loaded after this."""
        self._measured_at = None
        self.off = False

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Switch off, saying why, where something it needs is missing."""
        reason = self._missing(trainer, pl_module)
        if reason:
            switch_off(self, trainer, reason)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure with the validation that ends an epoch."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking and trainer.is_last_batch:
            self._measure_once(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure if no validation ended this epoch."""
        if trainer.is_last_batch or trainer.global_step == trainer.max_steps:
            self._measure_once(trainer, pl_module)

    def _missing(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> str | None:
        data: Any = getattr(trainer, "datamodule", None)
        if not hasattr(data, "eval_loader") or not hasattr(pl_module, "dataset_features"):
            return "it needs an SSLModule and an SSLDataModule: Trainer().fit(method, datamodule)."
        for split in ("train", self.split):
            if split not in data.split_names:
                return f"there is no split '{split}' in the data ({', '.join(data.split_names)})."
            trouble = label_trouble(data.labels(split), split)
            if trouble:
                return trouble
        return None

    def _measure_once(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        epoch = trainer.current_epoch
        now = (epoch, trainer.global_step)
        due = (epoch + 1) % self.every_n_epochs == 0 or epoch + 1 == trainer.max_epochs
        if self.off or not due or self._measured_at == now:
            return
        self._measured_at = now
        with evaluation_weights(trainer, pl_module), torch.no_grad():
            tally = self._classify(trainer, pl_module)
        counts = torch.cat([tally.correct.flatten(), torch.tensor([tally.total])])
        *correct, total = total_over_ranks(counts, pl_module.device).long().tolist()
        whole = Tally(tally.settings, torch.tensor(correct).view(-1, 2), total)
        for name, value in self._names(whole).items():
            pl_module.log(name, value, on_step=False, on_epoch=True, batch_size=1)

    def _classify(self, trainer: pl.Trainer, pl_module: Any) -> Tally:
        """Count this rank's right answers: rows r, r + W, ... of the split."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        labels = as_labels(data.labels("train"))
        rows = self._train_rows(labels, pl_module.seed)
        bank = pl_module.dataset_features("train", rows=rows.numpy())
        finite = rows[bank.isfinite().all(dim=1)]
        k = [min(n, len(finite)) for n in self.k]
        if k != self.k:
            say(trainer, f"knn: only {len(finite)} labelled train images, so k={k} for {self.k}.")
        mine = slice(rank(), None, world_size())
        return count_right(
            bank,
            labels[rows],
            pl_module.dataset_features(self.split)[mine],
            as_labels(data.labels(self.split))[mine],
            k=k,
            temperature=self.temperature,
            device=pl_module.device,
        )

    def _train_rows(self, labels: Tensor, seed: int) -> Tensor:
        """Labelled rows, or a draw of ``max_train`` of them that is the same in every epoch."""
        rows = (labels >= 0).nonzero().flatten()
        if self.max_train is None or self.max_train >= len(rows):
            return rows
        generator = torch.Generator().manual_seed(seed)
        picked = torch.randperm(len(rows), generator=generator)[: self.max_train]
        return rows[picked.sort().values]

    def _names(self, tally: Tally) -> dict[str, float]:
        prefix = "knn" if self.split == "test" else f"knn_{self.split}"
        named: dict[str, float] = {}
        for i, ((k, t), (top1, top5)) in enumerate(tally.accuracy().items()):
            if i == 0:
                named |= {f"{prefix}/top1": top1, f"{prefix}/top5": top5}
            if len(tally.settings) > 1:
                named |= {f"{prefix}/top1_k{k}_t{t:g}": top1, f"{prefix}/top5_k{k}_t{t:g}": top5}
        return named
