"""Multi-crop through a backbone: a pass per resolution against a pass per crop.

Fewer passes are fewer launches and fuller ones.

    python scripts/bench_multicrop.py
"""

from __future__ import annotations

import torch
from _bench import Bench, arguments, at_least
from torch import Tensor, nn

from sslight import backbone
from sslight.modules.multicrop import forward_crops

#: Of two global crops and the local ones, per image.
CROPS = {"SwAV, ResNet-18": ("resnet18", 2, 6), "DINO, ViT-T/16": ("vit_t_16", 2, 8)}
BATCH = 2


def main() -> None:
    """Measure all rows."""
    bench = Bench("multi-crop forward", arguments(__doc__))
    for what, (name, n_global, n_local) in CROPS.items():
        network = backbone(name)
        views = [torch.randn(BATCH, 3, 224, 224) for _ in range(n_global)]
        views += [torch.randn(BATCH, 3, 96, 96) for _ in range(n_local)]
        note = f"{n_global} x 224 + {n_local} x 96 px, {BATCH} images a crop"
        bench.compare(
            f"{what}: time of forward and backward",
            lambda network=network, views=views: backward(forward_crops(network, views)),
            lambda network=network, views=views: backward(torch.cat(list(map(network, views)))),
            against="a pass per crop",
            note=note,
        )
        if bench.wants(what):
            figure = [passes(network, views, False) / passes(network, views, True)]
            bench.keep(f"{what}: passes", figure, at_least(2.0), "a pass per crop", note=note)


def backward(embedding: Tensor) -> None:
    """Go back through the network."""
    embedding.square().mean().backward()


def passes(network: nn.Module, views: list[Tensor], together: bool) -> int:
    """Count the network's forwards."""
    seen = []
    handle = network.register_forward_hook(lambda *_: seen.append(1))
    with torch.no_grad():
        _ = forward_crops(network, views) if together else [network(view) for view in views]
    handle.remove()
    return len(seen)


if __name__ == "__main__":
    main()
