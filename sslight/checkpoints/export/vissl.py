"""VISSL's checkpoints: ``classy_state_dict`` with a trunk and no heads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sslight.backbones.resnet import ResNet
from sslight.backbones.spec import BackboneSpec, spec_of
from sslight.backbones.vit_model import VisionTransformer
from sslight.checkpoints.export._renames import RESNETS, regnet_to_vissl, renamed, resnet_to_vissl
from sslight.checkpoints.export.base import Format, Reader, in_words, other_input, plain_state
from sslight.checkpoints.export.timm import timm_model
from sslight.checkpoints.loaded import LoadedBackbone


class Vissl(Format):
    """A checkpoint for VISSL's ``MODEL.WEIGHTS_INIT.PARAMS_FILE``: ResNets, RegNets, transformers.

    VISSL itself is not run by the check. The names are read back by VISSL's rules; those of RegNets
    by timm, which reads VISSL's checkpoints of them.
    """

    def reader(self, loaded: LoadedBackbone) -> Reader:
        """Name VISSL; timm reads its RegNets."""
        if _is_regnet(loaded.backbone):
            return Reader("vissl", ("timm",), "timm's reader of VISSL's RegNets")
        proof = "the names taken back by VISSL's rules (VISSL itself is not run)"
        return Reader("vissl", proof=proof)

    def refusal(self, loaded: LoadedBackbone) -> str | None:
        """Only what VISSL has trunks for."""
        spec, network = spec_of(loaded.backbone), loaded.backbone
        if spec is None:
            return "it is a network of your own"
        if isinstance(network, VisionTransformer):
            reason = _transformer_reason(network)
        elif isinstance(network, ResNet):
            reason = _resnet_reason(spec)
        elif _is_regnet(network):
            reason = "VISSL's RegNets take no such arguments" if spec.kwargs.get("extra") else None
        else:
            reason = f"VISSL has no trunk {spec.name}"
        if reason is None and int(spec.kwargs.get("in_channels", 3)) != 3:
            reason = "VISSL's trunks take 3 channels"
        return reason or other_input(loaded)

    def write(self, loaded: LoadedBackbone, folder: Path) -> None:
        """Write ``model.torch``."""
        model = {"trunk": vissl_trunk(loaded.backbone), "heads": {}}
        content = {"classy_state_dict": {"base_model": {"model": model, "meta": {}}}}
        torch.save({**content, "type": "consolidated"}, folder / "model.torch")

    def usage(self, loaded: LoadedBackbone) -> str:
        """The keys of VISSL's config, as comments, and what the file holds."""
        lines = ["config.MODEL.WEIGHTS_INIT.PARAMS_FILE=model.torch", *_trunk(loaded.backbone)]
        return "".join(f"# {line}\n" for line in lines) + self.check(loaded)

    def check(self, loaded: LoadedBackbone) -> str:
        """Read the trunk back."""
        spec = spec_of(loaded.backbone)
        if _is_regnet(loaded.backbone):
            return _read_by_timm(loaded.backbone)
        kwargs = in_words(spec.rebuildable().kwargs if spec else {})
        name = spec.name if spec else ""
        return (
            "import sslight\nimport torch\n\n"
            'content = torch.load("model.torch", weights_only=True)["classy_state_dict"]\n'
            'trunk = content["base_model"]["model"]["trunk"]\n'
            'state = {name.removeprefix("_feature_blocks."): w for name, w in trunk.items()}\n'
            f'model = sslight.backbone("{name}"{kwargs}).eval()\n'
            "missing = model.load_state_dict(state, strict=False)\n"
            'if [*missing.missing_keys, *missing.unexpected_keys] not in ([], ["mask_token"]):\n'
            "    raise ValueError(missing)\n"
        )


def vissl_trunk(network: nn.Module) -> dict[str, Tensor]:
    """The weights under the names of VISSL's trunk."""
    state = plain_state(network)
    if isinstance(network, VisionTransformer):
        return state
    return renamed(state, resnet_to_vissl if isinstance(network, ResNet) else regnet_to_vissl)


def _is_regnet(network: nn.Module) -> bool:
    spec = spec_of(network)
    return spec is not None and spec.name.startswith("regnet_")


def _transformer_reason(network: VisionTransformer) -> str | None:
    block: Any = network.blocks[0]
    if network.reg_token is not None or hasattr(block.ls1, "gamma"):
        return "VISSL's transformer has neither registers nor layer scale"
    if block.mlp.fc1.out_features != block.mlp.fc2.in_features:
        return "VISSL's transformer has no gated MLP"
    if (network.pooling == "cls") != (network.cls_token is not None):
        return "VISSL's transformer averages its patches only without a class token"
    return None


def _resnet_reason(spec: BackboneSpec) -> str | None:
    if spec.name not in RESNETS:
        return f"VISSL has no trunk {spec.name}: its ResNets have 18, 34, 50, 101 or 152 layers"
    if spec.kwargs.get("stem", "imagenet") != "imagenet":
        return f"VISSL's ResNets have ImageNet's stem, this one the stem {spec.kwargs['stem']!r}"
    if int(spec.kwargs.get("width", 64)) % 64:
        return "VISSL's ResNets start with a multiple of 64 channels"
    return "VISSL's ResNets take no such arguments" if spec.kwargs.get("extra") else None


def _trunk(network: nn.Module) -> list[str]:
    """Keys of VISSL's config that build the trunk."""
    spec = spec_of(network)
    name = spec.name if spec else ""
    where = "config.MODEL.TRUNK"
    if isinstance(network, VisionTransformer):
        block: Any = network.blocks[0]
        keys = {
            "IMAGE_SIZE": network.image_size, "PATCH_SIZE": network.patch_size,
            "NUM_LAYERS": len(network.blocks), "NUM_HEADS": block.attn.heads,
            "HIDDEN_DIM": network.embed_dim, "MLP_DIM": block.mlp.fc1.out_features,
            "QKV_BIAS": True, "USE_CLASS_TOKEN": network.cls_token is not None,
        }  # fmt: skip
        inner = [f"{where}.VISION_TRANSFORMERS.{key}={value}" for key, value in keys.items()]
        return [f"{where}.NAME=vision_transformer", *inner]
    if isinstance(network, ResNet):
        depth, groups, per_group = RESNETS[name]
        multiplier = int(spec.kwargs.get("width", 64)) // 64 if spec else 1
        keys = {"DEPTH": depth, "GROUPS": groups, "WIDTH_PER_GROUP": per_group,
                "WIDTH_MULTIPLIER": multiplier}  # fmt: skip
        return [f"{where}.NAME=resnet", *(f"{where}.RESNETS.{k}={v}" for k, v in keys.items())]
    return [f"{where}.NAME=regnet", f"{where}.REGNET.name={name}"]


def _read_by_timm(network: nn.Module) -> str:
    model = timm_model(network)
    if model is None:
        raise ValueError("timm has no such RegNet.")
    return (
        "import timm\n\n"
        f'model = timm.create_model("{model.name}", pretrained=True, num_classes=0, '
        'pretrained_cfg_overlay={"file": "model.torch"}).eval()\n'
    )
