"""The smallest real training: built-in methods on 16-pixel shapes under a plain Trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

import sslight
from sslight import registry
from sslight.augment.presets import PRESETS
from sslight.data.datamodule import SSLDataModule
from sslight.data.sources.shapes import Shapes
from sslight.module import SSLModule
from sslight.optim import Recipe

#: Every file in sslight/methods that is a member of the family.
METHODS = registry.names("method")
METHOD_FILES = sorted(
    path.stem
    for path in (Path(sslight.__file__).parent / "methods").glob("*.py")
    if not path.stem.startswith("_") and path.stem != "base"
)


def resnet() -> nn.Module:
    return sslight.backbone("resnet18", stem="small", width=4)


def vit() -> nn.Module:
    return sslight.backbone("vit_t_16", image_size=16, patch_size=4, depth=2, mask_token=True)


class Net(nn.Module):
    """A convolutional backbone, for images of any size, whose images do not see each other."""

    embed_dim = 8

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.GroupNorm(2, 8),
            nn.Tanh(),
            nn.Conv2d(8, 8, 3, stride=2, padding=1),
            nn.GroupNorm(2, 8),
            nn.Tanh(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.body(images)


class Constant(nn.Module):
    """A collapsed backbone: every image has the same embedding."""

    embed_dim = 8

    def __init__(self) -> None:
        super().__init__()
        self.point = nn.Parameter(torch.linspace(-1, 1, 8))

    def forward(self, images: Tensor) -> Tensor:
        return self.point.expand(len(images), -1) + 0 * images.mean()


class Line(nn.Module):
    """A backbone of rank one: every image's embedding lies on one line through the origin."""

    embed_dim = 8

    def __init__(self) -> None:
        super().__init__()
        self.direction = nn.Parameter(torch.linspace(-1, 1, 8))
        self.net = nn.Linear(3, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images.mean((2, 3))) * self.direction


class WithTokens(nn.Module):
    """A vector backbone as a transformer: its class token and every patch token are the vector."""

    n_prefix = 1

    def __init__(self, net: nn.Module, patch_size: int = 4) -> None:
        super().__init__()
        self.net, self.patch_size, self.embed_dim = net, patch_size, net.embed_dim

    def tokens(self, images: Tensor, mask: Tensor | None = None) -> Tensor:
        patches = (images.shape[-1] // self.patch_size) ** 2
        return self.net(images)[:, None].expand(-1, 1 + patches, -1)

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)


def method_class(name: str) -> type[SSLModule]:
    return registry.resolve("method", name)


#: Sizes for tests, whichever method has a parameter of that name.
SMALL = {
    "hidden_dim": 32,
    "out_dim": 16,
    "bottleneck_dim": 8,
    "queue_size": 24,
    "num_negatives": 12,
    "num_prototypes": 12,
    "num_clusters": 6,
    "num_permutations": 5,
    "decoder_dim": 16,
    "decoder_depth": 1,
    "predictor_dim": 16,
    "predictor_depth": 1,
    # With 4 px a ResNet's last stage sees single pixels, and there the gradient that torch 2.14
    # gives for a bfloat16 convolution of stride 2 on a CPU holds numbers from unwritten memory.
    "tile_size": 5,
}


def build(name: str, backbone: Any = None, seed: int = 0, **recipe: Any) -> SSLModule:
    """A small method, otherwise with its own defaults, its weights drawn from the seed."""
    torch.manual_seed(seed)
    cls = method_class(name)
    known = registry.signature("method", cls)
    sizes = {key: size for key, size in SMALL.items() if key in known}
    network = (backbone or backbone_of(name))()
    return cls(network, Recipe(**{"lr": 0.05, **recipe}), **sizes)


def backbone_of(name: str) -> Any:
    """The usual kind of backbone: a transformer for methods that read tokens, else a ResNet."""
    return vit if method_class(name).needs_tokens else resnet


def rowwise(name: str) -> Any:
    """A backbone whose images do not see each other."""
    return vit if method_class(name).needs_tokens else Net


def rigged(name: str, net: type[nn.Module]) -> Any:
    """A collapsed backbone of the kind that the method needs."""
    return (lambda: WithTokens(net())) if method_class(name).needs_tokens else net


def data(name: str, num_images: int = 16, batch_size: int = 8, **options: Any) -> SSLDataModule:
    """Labelled shapes in the views that the method is made for."""
    return SSLDataModule(
        train=Shapes(num_images, size=16),
        views=PRESETS[method_class(name).default_views](size=16),
        batch_size=batch_size,
        workers=0,
        **options,
    )


def trainer(*callbacks: pl.Callback, **options: Any) -> pl.Trainer:
    return pl.Trainer(
        **{
            "max_epochs": 1,
            "callbacks": list(callbacks),
            "logger": False,
            "accelerator": "cpu",
            "devices": 1,
            "log_every_n_steps": 1,
            "num_sanity_val_steps": 0,
            "use_distributed_sampler": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "enable_checkpointing": False,
            **options,
        }
    )


def fit(method: SSLModule, name: str, *callbacks: pl.Callback, **options: Any) -> SSLModule:
    """Two optimizer steps of 8 images, if nothing else is said."""
    torch.manual_seed(1)  # what the method builds in setup()
    trainer(*callbacks, **options).fit(method, datamodule=data(name))
    return method


def without_batch_norm(module: nn.Module) -> nn.Module:
    """Replace every batch norm by a norm of single rows; shared layers stay shared."""
    swapped: dict[int, nn.Module] = {}
    for parent in list(module.modules()):
        for key, child in list(parent.named_children()):
            if isinstance(child, _BatchNorm):
                norm = swapped.setdefault(id(child), nn.GroupNorm(1, child.num_features))
                setattr(parent, key, norm.requires_grad_(_is_trained(child)))
    return module


def _is_trained(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


def assert_same(left: dict[str, Tensor], right: dict[str, Tensor], tolerance: float = 0.0) -> None:
    """Compare two state dicts, bit for bit if no tolerance is given."""
    assert left.keys() == right.keys()
    for key, value in left.items():
        torch.testing.assert_close(
            right[key], value, rtol=tolerance, atol=tolerance, msg=lambda m, k=key: f"{k}: {m}"
        )


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}
