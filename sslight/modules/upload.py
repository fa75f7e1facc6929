"""What the host makes and a device needs."""

from __future__ import annotations

import torch
from torch import Tensor


def uploaded(x: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor from the host to a device, and do not wait for what the device computes.

    Without ``non_blocking`` the host would wait until a GPU has done all that it was asked for
    before. On other devices the copy is a plain one (on MPS an asynchronous one may be read late).
    """
    return x.to(device, non_blocking=device.type == "cuda")
