"""How weights lie in memory while training."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import FSDPStrategy, ModelParallelStrategy
from torch import nn


def interleave_channels(module: pl.LightningModule) -> None:
    """Keep channels innermost in the weights of convolutions, which pass the layout on.

    Not where parameters are sharded, since FSDP takes contiguous ones only, and not where a
    convolution could end the process, see :func:`is_unsafe`.
    """
    strategy = module.trainer.strategy
    if isinstance(strategy, ModelParallelStrategy | FSDPStrategy):
        return
    if strategy.root_device.type == "cpu" and any(map(is_unsafe, module.modules())):
        return
    module.to(memory_format=torch.channels_last)


def is_unsafe(layer: nn.Module) -> bool:
    """Whether a layer with channels innermost may read memory that is not its own, on a CPU.

    oneDNN's backward does (torch 2.14, processors with AVX-512) in 1x1 convolutions of a stride
    above 1 and fewer than 16 channels: the shortcuts of very narrow ResNets.
    """
    return (
        isinstance(layer, nn.Conv2d)
        and layer.kernel_size == (1, 1)
        and max(layer.stride) > 1
        and layer.in_channels // layer.groups < 16
    )
