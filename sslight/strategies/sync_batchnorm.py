"""Lightning's plugin point for synchronised batch norm, filled with ours."""

from __future__ import annotations

from pytorch_lightning.plugins.layer_sync import LayerSync
from torch import nn

from sslight.distributed import convert_sync_batchnorm


class SyncBatchNormPlugin(LayerSync):
    """Convert every batch norm of the model to one whose statistics span ranks, on any device.

    Args:
        group_size: Consecutive ranks that share statistics; None means all.
    """

    def __init__(self, group_size: int | None = None) -> None:
        self.group_size = group_size

    def apply(self, model: nn.Module) -> nn.Module:
        """Convert the model, in place where it can."""
        return convert_sync_batchnorm(model, group_size=self.group_size)

    def revert(self, model: nn.Module) -> nn.Module:
        """Leave the layers: outside a process group they are plain batch norms, names included."""
        return model
