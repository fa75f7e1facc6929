"""Where training stands, counted in optimizer steps."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Clock:
    """Where training stands.

    Attributes:
        step: Optimizer steps already done, from 0.
        total: Optimizer steps of the whole training.
        per_epoch: Optimizer steps of one epoch.
    """

    step: int
    total: int
    per_epoch: int

    @property
    def progress(self) -> float:
        """``step / total``, in [0, 1]."""
        if self.total < 1:
            raise ValueError(
                f"Clock.progress: training has no known length (total={self.total} steps). "
                "Set trainer.max_epochs or trainer.max_steps, or use schedules of epochs only."
            )
        return min(self.step / self.total, 1.0)

    @property
    def epoch(self) -> int:
        """The epoch this step lies in, from 0."""
        return self.step // max(self.per_epoch, 1)

    @property
    def epochs(self) -> float:
        """Epochs done, with their fraction."""
        return self.step / max(self.per_epoch, 1)

    @property
    def total_epochs(self) -> float:
        """Length of the training in epochs, with their fraction."""
        return self.total / max(self.per_epoch, 1)

    def at_epoch_start(self) -> Clock:
        """The clock at the first step of this epoch."""
        return replace(self, step=self.epoch * max(self.per_epoch, 1))
