"""How weights lie in memory while training."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import FSDPStrategy, ModelParallelStrategy


def interleave_channels(module: pl.LightningModule) -> None:
    """Keep channels innermost in the weights of convolutions, which pass the layout on.

    Not where parameters are sharded: FSDP takes contiguous ones only.
    """
    if not isinstance(module.trainer.strategy, ModelParallelStrategy | FSDPStrategy):
        module.to(memory_format=torch.channels_last)
