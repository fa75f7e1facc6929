"""PyTorch's own graphs (``torch.export``): no Python of the network is needed to run them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sslight.backbones.inputs import image_channels
from sslight.checkpoints.export.base import Format, Reader
from sslight.checkpoints.loaded import LoadedBackbone


class TorchExport(Format):
    """A ``torch.export`` program: normalised images ``[B, C, H, W]`` to embeddings ``[B, D]``."""

    def reader(self, loaded: LoadedBackbone) -> Reader:
        """Name PyTorch."""
        return Reader("pytorch", proof="torch.export.load")

    def write(self, loaded: LoadedBackbone, folder: Path) -> None:
        """Write ``model.pt2``."""
        program = torch.export.export(
            graph_of(loaded), (example(loaded),), dynamic_shapes=the_batch()
        )
        torch.export.save(program, folder / "model.pt2")

    def usage(self, loaded: LoadedBackbone) -> str:
        """Load the program and call it."""
        return 'import torch\n\nmodel = torch.export.load("model.pt2").module()\n'


class Graph(nn.Module):
    """A backbone as it is called, with whatever it does to images before its forward."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[B, C, H, W]`` to embeddings ``[B, D]``."""
        out: Tensor = self.network(images)
        return out


def graph_of(loaded: LoadedBackbone) -> nn.Module:
    """The module that is traced."""
    return Graph(loaded.backbone).eval()


def example(loaded: LoadedBackbone, count: int = 2) -> Tensor:
    """Images ``[count, C, size, size]`` of the size that the view gives, the same in every call."""
    size, channels = loaded.view.size, image_channels(loaded.backbone)
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, channels, size, size, generator=generator)


def the_batch() -> dict[str, Any]:
    """Only the number of images may change."""
    return {"images": {0: torch.export.Dim("batch")}}
