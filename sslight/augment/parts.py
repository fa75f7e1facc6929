"""What a batch may hold beside its views: masks, for one."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Part(Protocol):
    """Draws further entries of a batch; it stands in a list of views, after the specs.

    As of the views, everything random is drawn from (seed, epoch, sample index).
    """

    def draw(self, seed: int, epoch: Tensor | int, index: Tensor) -> dict[str, Any]:
        """Draw the entries of the samples ``index`` ``[B]``, in the worker.

        Tensors (also in lists) have the batch as their first dimension and travel to the device.
        """
