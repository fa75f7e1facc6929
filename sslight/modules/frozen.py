"""A network that others learn from and that never changes."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from sslight.schedules import Clock


class Frozen(nn.Module):
    """A network without gradients, in eval mode also while training; saved with the method.

    What moves after an optimizer step (:class:`sslight.modules.ema.EMA`) stays still inside it.

    Args:
        network: Taken over as it is: its parameters stop asking for gradients.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.requires_grad_(False).eval()

    @torch.no_grad()
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the network."""
        return self.network(*args, **kwargs)

    def after_step(self, clock: Clock) -> None:
        """Do nothing, in place of all modules inside."""

    def train(self, mode: bool = True) -> Frozen:
        """Set the mode of this module only."""
        super().train(mode)
        self.network.eval()
        return self
