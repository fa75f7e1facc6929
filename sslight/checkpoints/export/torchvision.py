"""torchvision's networks under torchvision's names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from sslight.backbones.common import classifier_path
from sslight.backbones.spec import BackboneSpec, spec_of
from sslight.backbones.vit_model import VisionTransformer
from sslight.backbones.vit_weights import to_torchvision
from sslight.checkpoints.export.base import (
    Format,
    Reader,
    difference,
    in_words,
    other_input,
    plain_state,
)
from sslight.checkpoints.loaded import LoadedBackbone


class Torchvision(Format):
    """A state dict for torchvision's network of the same name, without the classifier."""

    def reader(self, loaded: LoadedBackbone) -> Reader:
        """Name torchvision."""
        return Reader("torchvision", ("torchvision",), "torchvision's network")

    def refusal(self, loaded: LoadedBackbone) -> str | None:
        """Only networks that torchvision builds itself, in its own form."""
        spec, network = spec_of(loaded.backbone), loaded.backbone
        if spec is None or spec.name not in torchvision.models.list_models():
            return f"torchvision has no {spec.name if spec else 'network of your own'}"
        peer = torchvision_model(spec)
        if isinstance(network, VisionTransformer) and (
            network.pooling != "cls" or _own_heads(network) != _heads(peer)
        ):
            return "torchvision's transformer gives the class token, with its own number of heads"
        return other_input(loaded) or difference(torchvision_state(network), peer.state_dict())

    def write(self, loaded: LoadedBackbone, folder: Path) -> None:
        """Write ``model.pth``."""
        torch.save(torchvision_state(loaded.backbone), folder / "model.pth")

    def usage(self, loaded: LoadedBackbone) -> str:
        """Build the network, take its classifier off, load strictly."""
        return (
            "import torch\nimport torchvision\n\n"
            + building(_spec(loaded))
            + 'model.load_state_dict(torch.load("model.pth", weights_only=True))\nmodel.eval()\n'
        )


def torchvision_state(network: nn.Module) -> dict[str, Tensor]:
    """The weights under torchvision's names."""
    state = plain_state(network)
    return to_torchvision(state) if isinstance(network, VisionTransformer) else state


def torchvision_model(spec: BackboneSpec) -> nn.Module:
    """Return torchvision's network of that name, without classifier, its weights of no use."""
    peer = _build(spec)
    peer.set_submodule(classifier_path(peer), nn.Identity())
    return peer


def _build(spec: BackboneSpec) -> nn.Module:
    # torchvision computes the widths of a RegNet with tensors, which need memory.
    device = "cpu" if spec.name.startswith("regnet_") else "meta"
    with torch.random.fork_rng(devices=[]), torch.device(device):
        peer: nn.Module = torchvision.models.get_model(spec.name, weights=None, **_arguments(spec))
    return peer


def building(spec: BackboneSpec) -> str:
    """Code for ``model``: torchvision's network without its classifier."""
    arguments = in_words(_arguments(spec))
    return (
        f'model = torchvision.models.get_model("{spec.name}", weights=None{arguments})\n'
        f'model.set_submodule("{classifier_path(_build(spec))}", torch.nn.Identity())\n'
    )


def _arguments(spec: BackboneSpec) -> dict[str, Any]:
    arguments = dict(spec.kwargs.get("extra") or {})
    if "image_size" in spec.kwargs:
        arguments["image_size"] = spec.kwargs["image_size"]
    if spec.name in ("googlenet", "inception_v3"):
        arguments |= {"aux_logits": False, "init_weights": False}
    return arguments


def _own_heads(network: VisionTransformer) -> int:
    block: Any = network.blocks[0]
    return int(block.attn.heads)


def _heads(peer: nn.Module) -> int:
    return next(int(m.num_heads) for m in peer.modules() if isinstance(m, nn.MultiheadAttention))


def _spec(loaded: LoadedBackbone) -> BackboneSpec:
    spec = spec_of(loaded.backbone)
    if spec is None:
        raise ValueError("torchvision has no network of your own.")
    return spec
