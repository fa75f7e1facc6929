"""The smallest real training: built-in methods on 16-pixel shapes under a plain Trainer."""

from __future__ import annotations

from inspect import signature
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


RESNET = {"name": "resnet18", "stem": "small", "width": 4}
VIT = {"name": "vit_t_16", "image_size": 16, "patch_size": 4, "width": 32, "heads": 2, "depth": 2}


def resnet() -> nn.Module:
    return sslight.backbone(**RESNET)


def vit() -> nn.Module:
    return sslight.backbone(**VIT)


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


class MapOf(nn.Module):
    """Vectors as constant feature maps, for backbones that end in the mean of a map."""

    def forward(self, vectors: Tensor) -> Tensor:
        return vectors[:, :, None, None].expand(-1, -1, 2, 2)


class Constant(nn.Module):
    """A collapsed backbone: every image has the same embedding."""

    embed_dim = 8

    def __init__(self) -> None:
        super().__init__()
        self.point = nn.Parameter(torch.linspace(-1, 1, 8))
        self.map = MapOf()

    def forward(self, images: Tensor) -> Tensor:
        vectors = self.point.expand(len(images), -1) + 0 * images.mean()
        return self.map(vectors).mean((2, 3))


class Line(nn.Module):
    """A backbone of rank one: every image's embedding lies on one line through the origin."""

    embed_dim = 8

    def __init__(self) -> None:
        super().__init__()
        self.direction = nn.Parameter(torch.linspace(-1, 1, 8))
        self.net = nn.Linear(3, 1)
        self.map = MapOf()

    def forward(self, images: Tensor) -> Tensor:
        return self.map(self.net(images.mean((2, 3))) * self.direction).mean((2, 3))


class WithTokens(nn.Module):
    """A vector backbone as a transformer: its class token and every patch token are the vector."""

    n_prefix = 1

    def __init__(self, net: nn.Module, patch_size: int = 4) -> None:
        super().__init__()
        self.net, self.patch_size, self.embed_dim = net, patch_size, net.embed_dim
        self.norm = nn.Identity()

    def grid(self, images: Tensor) -> tuple[int, int]:
        return images.shape[-2] // self.patch_size, images.shape[-1] // self.patch_size

    def tokens(
        self, images: Tensor, mask: Tensor | None = None, keep: Tensor | None = None
    ) -> Tensor:
        height, width = self.grid(images)
        patches = height * width if keep is None else keep.shape[1]
        return self.net(images)[:, None].expand(-1, 1 + patches, -1)

    def block_outputs(
        self, images: Tensor, last: int, mask: Tensor | None = None, keep: Tensor | None = None
    ) -> list[Tensor]:
        return [self.tokens(images, mask, keep)] * last

    def fix_positions(self) -> None:
        """There are none."""

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
    "predictor_heads": 2,
    "target_blocks": 2,
    # With 4 px a ResNet's last stage sees single pixels, and there the gradient that torch 2.14
    # gives for a bfloat16 convolution of stride 2 on a CPU holds numbers from unwritten memory.
    "tile_size": 5,
}


def sizes(name: str) -> dict[str, int]:
    """The small sizes of those parameters that the method has."""
    known = registry.signature("method", method_class(name))
    return {key: size for key, size in SMALL.items() if key in known}


def build(name: str, backbone: Any = None, seed: int = 0, **recipe: Any) -> SSLModule:
    """A small method, otherwise with its own defaults, its weights drawn from the seed."""
    torch.manual_seed(seed)
    network = (backbone or backbone_of(name))()
    return method_class(name)(network, Recipe(**{"lr": 0.05, **recipe}), **sizes(name))


def backbone_of(name: str) -> Any:
    """The usual kind of backbone: a transformer for methods that read tokens, else a ResNet."""
    return vit if method_class(name).needs_tokens else resnet


def rowwise(name: str) -> Any:
    """A backbone whose images do not see each other."""
    return vit if method_class(name).needs_tokens else Net


def rigged(name: str, net: type[nn.Module]) -> Any:
    """A collapsed backbone of the kind that the method needs."""
    return (lambda: WithTokens(net())) if method_class(name).needs_tokens else net


def view_sizes(preset: str) -> dict[str, int]:
    """Images of 16 pixels, in the tiny transformer's patches where the preset draws masks."""
    takes_patches = "patch_size" in signature(PRESETS[preset]).parameters
    return {"size": 16, **({"patch_size": 4} if takes_patches else {})}


def data(name: str, num_images: int = 16, batch_size: int = 8, **options: Any) -> SSLDataModule:
    """Labelled shapes in the views that the method is made for."""
    preset = method_class(name).default_views
    return SSLDataModule(
        train=Shapes(num_images, size=16),
        views=PRESETS[preset](**view_sizes(preset)),
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


class Watch(pl.Callback):
    """Keeps each step's gradients and losses."""

    def __init__(self) -> None:
        self.gradients: list[dict[str, torch.Tensor | None]] = []
        self.losses: list[float] = []

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: Any, optimizer: Any) -> None:
        grads = {n: p.grad for n, p in pl_module.named_parameters()}
        self.gradients.append({n: None if g is None else g.clone() for n, g in grads.items()})

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:
        self.losses.append(float(outputs["loss"]))


def assert_same(left: dict[str, Tensor], right: dict[str, Tensor], tolerance: float = 0.0) -> None:
    """Compare two state dicts, bit for bit if no tolerance is given."""
    assert left.keys() == right.keys()
    for key, value in left.items():
        torch.testing.assert_close(
            right[key], value, rtol=tolerance, atol=tolerance, msg=lambda m, k=key: f"{k}: {m}"
        )


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}
