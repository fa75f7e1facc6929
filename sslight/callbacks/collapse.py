"""Watch for collapse: embeddings that no longer tell images apart."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from torch import Tensor
from torch.nn.functional import normalize

from sslight.callbacks._common import say, switch_off
from sslight.distributed import all_gather, all_reduce_max, rank, world_size
from sslight.metrics import effective_rank, feature_std, rankme, uniformity
from sslight.strategies import is_logging_step

#: Fewer embeddings than this are measured but not judged.
ENOUGH = 64
#: A measure must rise this far above its threshold before a new onset can ring.
RECOVERED = 1.5


class Collapse(pl.Callback):
    """Measure the spread of recent training embeddings and warn, early and in words.

    A ring buffer on the device holds the last embeddings ``outputs["embedding"]``; on logging steps
    it is gathered over ranks and measured (:mod:`sslight.metrics`):

    - ``collapse/std``: deviation of the L2-normalised embeddings relative to ``1 / sqrt(D)``.
      Evenly spread is 1, all equal is 0; ``x`` means a mean cosine similarity of about ``1 - x^2``.
      Untrained ResNets, ViTs and ConvNets gave 0.74 to 0.97 on CIFAR-10 in training mode (0.24
      for a ResNet-18 in evaluation mode).
    - ``collapse/rank``: effective rank of the normalised, centred embeddings. 1 means that all lie
      on one line; the same untrained backbones gave 23 to 219. A supervised two-class problem may
      rightly come near 1: give ``min_rank: 0`` there.
    - ``collapse/rankme`` (uncentred, as in the paper) and ``collapse/uniformity``, for comparison.

    Below ``min_std`` or ``min_rank`` for ``patience`` measurements in a row it rings: once per
    onset.

    Args:
        buffer: Embeddings kept, over all ranks.
        min_std: Threshold of ``collapse/std``.
        min_rank: Threshold of ``collapse/rank``.
        patience: Measurements in a row below a threshold before it rings.
        stop: End training when it rings, on all ranks at the same step.
        every_n_logs: Measure on the first logging step and on every n-th after it. 512 embeddings
            of width 512 take 60 ms, which should not be a part of every tenth step.
    """

    def __init__(
        self,
        buffer: int = 512,
        min_std: float = 0.1,
        min_rank: float = 2.0,
        patience: int = 2,
        stop: bool = False,
        every_n_logs: int = 1,
    ) -> None:
        if buffer < ENOUGH or min(patience, every_n_logs) < 1 or min_std < 0 or min_rank < 0:
            raise ValueError(
                f"callback collapse: got buffer={buffer}, patience={patience}, min_std={min_std}, "
                f"min_rank={min_rank}, every_n_logs={every_n_logs}; give buffer >= {ENOUGH}, "
                "patience and every_n_logs >= 1, and thresholds >= 0."
            )
        self.buffer = buffer
        self.min_std = min_std
        self.min_rank = min_rank
        self.patience = patience
        self.stop = stop
        self.every_n_logs = every_n_logs
        self.off = False
        self._ring: Tensor | None = None
        self._filled = 0
        self._next = 0
        self._low = 0  # measurements in a row below a threshold
        self._ringing = False
        self._restored: Tensor | None = None

    # ---------------------------------------------------------------- state

    def state_dict(self) -> dict[str, Any]:
        """Return the ring of all ranks (every rank must call, as Lightning does) and the alarm."""
        ring = self._restored if self._ring is None else all_gather(self._ring)
        return {
            "ring": ring,
            "filled": self._filled,
            "next": self._next,
            "low": self._low,
            "ringing": self._ringing,
            "world_size": world_size(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up ring and alarm; at another number of ranks the ring fills anew."""
        self._low, self._ringing = state_dict["low"], state_dict["ringing"]
        if state_dict["world_size"] == world_size() and state_dict["ring"] is not None:
            self._restored = state_dict["ring"]
            self._filled, self._next = state_dict["filled"], state_dict["next"]

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Forget an earlier fit; the state of a resumed one is loaded after this."""
        if stage == "fit":
            self._ring = self._restored = None
            self._filled = self._next = self._low = 0
            self._ringing = self.off = False

    # ---------------------------------------------------------------- steps

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Keep this batch's embeddings; measure on logging steps."""
        if self.off:
            return
        embedding = outputs.get("embedding") if isinstance(outputs, dict) else None
        if embedding is None:
            reason = "the method gives no embedding; return StepOutput(loss, embedding=...)."
            switch_off(self, trainer, reason)
            return
        self._keep(embedding.detach().float().flatten(1))
        if is_logging_step(trainer) and self._is_due(trainer):
            self._measure(trainer, pl_module)

    def _is_due(self, trainer: pl.Trainer) -> bool:
        """Tell whether this logging step is the first, or the n-th after one that was due."""
        every = max(int(getattr(trainer, "log_every_n_steps", 1)), 1)
        number = -(-int(trainer.global_step) // every)
        return (number - 1) % self.every_n_logs == 0

    def _keep(self, rows: Tensor) -> None:
        """Write rows into the ring; positions are known on the host, nothing is read back."""
        if self._ring is None:
            self._ring = self._new_ring(rows)
        capacity = len(self._ring)
        rows = rows[:capacity]
        head = min(len(rows), capacity - self._next)
        self._ring[self._next : self._next + head] = rows[:head]
        self._ring[: len(rows) - head] = rows[head:]
        self._next = (self._next + len(rows)) % capacity
        self._filled = min(self._filled + len(rows), capacity)

    def _new_ring(self, rows: Tensor) -> Tensor:
        ranks = world_size()
        ring = rows.new_zeros(max(self.buffer // ranks, 1), rows.shape[1])
        if self._restored is not None:
            mine = self._restored.chunk(ranks)[rank()]
            if mine.shape == ring.shape:
                ring.copy_(mine)
            else:  # another buffer size: start anew
                self._filled = self._next = 0
            self._restored = None
        return ring

    def _measure(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._ring is None:
            return
        rows = all_gather(self._ring[: self._filled]).cpu()
        if len(rows) < 2 or not bool(rows.isfinite().all()):
            return  # nothing to compare, or nan_guard's business
        unit = normalize(rows, dim=1)
        values = {
            "collapse/std": float(feature_std(rows)),
            "collapse/rank": float(effective_rank(unit)),
            "collapse/rankme": float(rankme(rows)),
            "collapse/uniformity": float(uniformity(rows)),
        }
        pl_module.log_dict(values)
        if len(rows) >= ENOUGH:
            self._judge(trainer, values["collapse/std"], values["collapse/rank"])

    def _judge(self, trainer: pl.Trainer, std: float, effective: float) -> None:
        self._low = self._low + 1 if std < self.min_std or effective < self.min_rank else 0
        if std > RECOVERED * self.min_std and effective > RECOVERED * self.min_rank:
            self._ringing = False
        rings = self._low >= self.patience and not self._ringing
        # Ranks measure the same rows, but another processor may round another way.
        if not all_reduce_max(int(rings)):
            return
        self._ringing = True
        say(trainer, _words(trainer.global_step, std, effective, self.min_std))
        if self.stop:
            say(trainer, "collapse: training stops here (callbacks.collapse.stop is true).")
            trainer.should_stop = True


def _words(step: int, std: float, effective: float, min_std: float) -> str:
    """Say what was seen, what it means, and what to change."""
    if std < min_std:
        seen = (
            f"the embeddings of different images are almost equal (spread {std:.3f} of 1, mean "
            f"cosine similarity {1 - std**2:.4f})"
        )
        meaning = "the backbone is collapsing to one point and its features will be useless"
    else:
        seen = f"the embeddings vary along about {effective:.1f} directions only (effective rank)"
        meaning = "the features are collapsing to a line or a few lines"
    return (
        f"collapse at step {step}: {seen}. It means that {meaning}. What usually helps: a lower "
        "optim.lr or a longer optim.warmup_epochs; a check of the loss's temperature; batch norm "
        "in the projection head (with trainer.sync_batchnorm over several devices); for teachers, "
        "an EMA momentum nearer to 1; less optim.weight_decay."
    )
