"""timm's names: its own models, our transformers, ResNets and RegNets."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sslight.backbones.resnet import ResNet
from sslight.backbones.spec import BackboneSpec, spec_of
from sslight.backbones.timm import import_timm
from sslight.backbones.vit_model import VisionTransformer
from sslight.checkpoints.export._renames import TIMM_REGNETS, regnet_to_timm, renamed
from sslight.checkpoints.export.base import (
    Format,
    Reader,
    difference,
    in_words,
    other_input,
    plain_state,
)
from sslight.checkpoints.loaded import LoadedBackbone


@dataclass(frozen=True)
class TimmModel:
    """A call of ``timm.create_model``: the model's name and arguments of its class."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)

    def build(self) -> nn.Module:
        """Build it without memory for weights."""
        with torch.device("meta"):
            model: nn.Module = import_timm().create_model(
                self.name, pretrained=False, num_classes=0, **self.arguments
            )
        return model


class Timm(Format):
    """A safetensors file for ``timm.create_model``, under timm's names."""

    def reader(self, loaded: LoadedBackbone) -> Reader:
        """Name timm."""
        return Reader("timm", ("timm",), "timm.create_model")

    def refusal(self, loaded: LoadedBackbone) -> str | None:
        """Only networks that timm builds too."""
        model = timm_model(loaded.backbone)
        if model is None:
            spec = spec_of(loaded.backbone)
            return f"timm has no {spec.name if spec else 'network of your own'}"
        theirs = model.build().state_dict()
        return other_input(loaded) or difference(timm_state(loaded.backbone), theirs)

    def write(self, loaded: LoadedBackbone, folder: Path) -> None:
        """Write ``model.safetensors``."""
        from safetensors.torch import save_file

        state = timm_state(loaded.backbone)
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})

    def usage(self, loaded: LoadedBackbone) -> str:
        """Build the model with its weights."""
        model = timm_model(loaded.backbone)
        if model is None:
            raise ValueError("timm has no such network.")
        return (
            "import timm\n\n"
            f'model = timm.create_model("{model.name}", num_classes=0{in_words(model.arguments)}, '
            'checkpoint_path="model.safetensors").eval()\n'
        )


def timm_state(network: nn.Module) -> dict[str, Tensor]:
    """The weights under timm's names."""
    spec = spec_of(network)
    state = plain_state(network)
    if spec is not None and spec.name.startswith("regnet_"):
        return renamed(state, regnet_to_timm)
    if isinstance(network, VisionTransformer) and _is_gated(network):
        return {**_neutral_scales(network), **state}
    return state


def _is_gated(network: VisionTransformer) -> bool:
    mlp: Any = network.blocks[0].mlp
    return bool(mlp.fc1.out_features != mlp.fc2.in_features)


def _neutral_scales(network: VisionTransformer) -> dict[str, Tensor]:
    """Factors of 1: timm's transformers with gated MLPs always scale their branches."""
    return {
        f"blocks.{i}.{name}.gamma": torch.ones(network.embed_dim)
        for i in range(len(network.blocks))
        for name in ("ls1", "ls2")
    }


def timm_model(network: nn.Module) -> TimmModel | None:
    """The call that builds the same network in timm; None where timm has none."""
    spec = spec_of(network)
    if spec is None:
        return None
    if spec.name.startswith("timm/"):
        return TimmModel(spec.name.removeprefix("timm/"), _own_arguments(spec))
    if isinstance(network, VisionTransformer):
        return _transformer(spec, network)
    channels = int(spec.kwargs.get("in_channels", 3))
    arguments: dict[str, Any] = {} if channels == 3 else {"in_chans": channels}
    if isinstance(network, ResNet) and not spec.kwargs.get("extra"):
        if spec.name == "resnet10":
            return TimmModel("resnet18", {"layers": [1, 1, 1, 1], **arguments})
        return TimmModel(spec.name, arguments)
    regnet = TIMM_REGNETS.get(spec.name.removeprefix("regnet_"))
    return TimmModel(regnet, arguments) if regnet and not spec.kwargs.get("extra") else None


def _own_arguments(spec: BackboneSpec) -> dict[str, Any]:
    """Arguments of a ``timm/<model>`` backbone as timm calls them."""
    names = {"image_size": "img_size", "in_channels": "in_chans", "global_pool": "global_pool"}
    given = {theirs: spec.kwargs[ours] for ours, theirs in names.items() if ours in spec.kwargs}
    return {k: v for k, v in given.items() if v is not None} | dict(spec.kwargs.get("extra") or {})


def _transformer(spec: BackboneSpec, network: VisionTransformer) -> TimmModel:
    """Our transformer in timm's words: the whole shape is given, whatever the name stands for."""
    block: Any = network.blocks[0]
    has_registers = network.reg_token is not None
    arguments: dict[str, Any] = {
        "img_size": network.image_size,
        "patch_size": network.patch_size,
        "embed_dim": network.embed_dim,
        "depth": len(network.blocks),
        "num_heads": block.attn.heads,
    }
    if network.patch_embed.proj.in_channels != 3:
        arguments["in_chans"] = network.patch_embed.proj.in_channels
    if has_registers:
        arguments |= {"reg_tokens": network.n_prefix - int(network.cls_token is not None)}
        arguments |= {"no_embed_class": True}
    if network.cls_token is None:
        arguments |= {"class_token": False}
    if network.pooling == "avg":
        arguments |= {"global_pool": "avg", "fc_norm": False}
    if hasattr(block.ls1, "gamma"):
        arguments |= {"init_values": 1.0}
    if _is_gated(network):
        arguments |= {"mlp_ratio": block.mlp.fc1.out_features / network.embed_dim}
    base = "vit_giant_patch14_dinov2" if _is_gated(network) else "vit_base_patch16_224"
    return TimmModel(base, arguments)
