"""Tell each image from random others of a memory: the core of NPID and PIRL."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sslight.augment.draws import seed_of, uniforms
from sslight.losses.nce import log_partition, memory_logits, nce_loss
from sslight.modules.memory_bank import MemoryBank

#: Sets the draws of negatives apart from others made of the run's seed.
_STREAM = 0x6E6365


class InstanceNCE(nn.Module):
    """NCE of embeddings against a memory of all images, with its normalising constant.

    Z is estimated once, from the first global batch in training: N times the mean of
    ``exp(cos / T)`` over its images and all their candidates. It is a buffer, ``log_z``, minus
    infinity until then.

    Args:
        memory: The images' rows.
        num_negatives: K, drawn for each image with replacement, never the image itself.
        temperature: T.
    """

    log_z: Tensor

    def __init__(
        self, memory: MemoryBank, num_negatives: int = 4096, temperature: float = 0.07
    ) -> None:
        super().__init__()
        self.memory, self.num_negatives, self.temperature = memory, num_negatives, temperature
        self.register_buffer("log_z", torch.tensor(float("-inf")))

    def forward(
        self, outputs: Sequence[Tensor], index: Tensor, *, seed: int, epoch: int
    ) -> list[Tensor]:
        """Give the loss of each of the outputs ``[B, P]`` of the images ``index`` ``[B]``.

        All are compared with the same candidates, in the memory as it is.
        """
        count = len(self.memory)
        negatives = others(index, count, self.num_negatives, seed=seed, epoch=epoch)
        rows = self.memory.rows[torch.cat([index[:, None], negatives], dim=1)]  # [B, 1 + K, P]
        logits = [memory_logits(output, rows, self.temperature) for output in outputs]
        log_z = self._partition(torch.stack(logits))
        return [nce_loss(values, log_z, count) for values in logits]

    def _partition(self, logits: Tensor) -> Tensor:
        """Give log Z, as kept or, at first, as estimated; without the host knowing which."""
        estimate = log_partition(logits, len(self.memory)).to(self.log_z.dtype)
        log_z = torch.where(self.log_z.isfinite(), self.log_z, estimate)
        if self.training and torch.is_grad_enabled():
            self.log_z.copy_(log_z)
        return log_z


def others(index: Tensor, num_images: int, count: int, *, seed: int, epoch: int) -> Tensor:
    """Draw ``count`` images for each of ``index`` ``[B]``, uniformly from all but itself.

    A function of (seed, epoch, image), with replacement; ``[B, count]``.
    """
    draws = uniforms(seed_of(seed, _STREAM), epoch, index, 0, count)
    drawn = draws.mul_(num_images - 1).to(torch.int64)
    return drawn + (drawn >= index[:, None])
