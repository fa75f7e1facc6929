"""Files of other projects, as their code writes them: nested, with what lies beside the backbone.

Each function takes a backbone's tensors by its own names and returns what is given to `torch.save`.
Names are those of the projects' public checkpoints, recorded here as prefixes and renamings.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

State = dict[str, Tensor]


def under(prefix: str, state: State) -> State:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def other(state: State) -> State:
    """A second network of the same shape: a momentum encoder, a student."""
    return {name: torch.full_like(tensor, 7) for name, tensor in state.items()}


def linear(prefix: str, width: int = 4) -> State:
    return {f"{prefix}weight": torch.ones(3, width), f"{prefix}bias": torch.ones(3)}


# ------------------------------------------------------------------ who holds the backbone


def vissl(state: State) -> dict[str, Any]:
    trunk = under("_feature_blocks.", state)
    heads = {**linear("0.clf.0."), **linear("0.clf.2.")}
    model = {"trunk": trunk, "heads": heads}
    return {
        "phase_idx": 99,
        "loss": {"memory": torch.ones(2)},
        "classy_state_dict": {
            "base_model": {"model": model, "meta": {}},
            "optimizer": {"optim": {"state": {0: {"momentum_buffer": torch.ones(1)}}}},
            "meters": {},
        },
    }


def vissl_extractor(state: State) -> dict[str, Any]:
    trunk = under("base_model._feature_blocks.", state)
    return {"classy_state_dict": {"base_model": {"model": {"trunk": trunk, "heads": {}}}}}


def vissl_transformer(state: State) -> dict[str, Any]:
    theirs = {"cls_token": "class_token", "pos_embed": "pos_embedding"}
    trunk = {theirs.get(name, name): tensor for name, tensor in state.items()}
    return {"classy_state_dict": {"base_model": {"model": {"trunk": trunk, "heads": {}}}}}


def moco_v2(state: State) -> dict[str, Any]:
    query = {**state, **linear("fc.0."), **linear("fc.2.")}
    names = {**under("module.encoder_q.", query), **under("module.encoder_k.", other(query))}
    queue = {"module.queue": torch.ones(4, 8), "module.queue_ptr": torch.ones(1).long()}
    return {"epoch": 200, "arch": "resnet50", "state_dict": {**names, **queue}, "optimizer": {}}


def moco_v3(state: State) -> dict[str, Any]:
    base = {**state, **linear("head.0.")}
    names = {
        **under("module.base_encoder.", base),
        **under("module.momentum_encoder.", other(base)),
    }
    return {"state_dict": {**names, **linear("module.predictor.0.")}, "arch": "vit_small"}


def dino(state: State) -> dict[str, Any]:
    return {
        "student": {**under("module.backbone.", other(state)), **linear("module.head.mlp.0.")},
        "teacher": {**under("backbone.", state), **linear("head.mlp.0.")},
        "args": argparse.Namespace(arch="vit_small", patch_size=16),
        "epoch": 100,
        "dino_loss": {"center": torch.ones(1, 4)},
    }


def dinov2(state: State) -> dict[str, Any]:
    heads = {**linear("dino_head.mlp.0."), **linear("ibot_head.mlp.0.")}
    return {"teacher": {**under("backbone.", dinov2_names(state, chunk=2)), **heads}}


def ijepa(state: State) -> dict[str, Any]:
    return {
        "encoder": under("module.", other(state)),
        "predictor": linear("module.predictor_embed."),
        "target_encoder": under("module.", state),
        "opt": {"state": {}},
    }


def mae(state: State) -> dict[str, Any]:
    decoder = {
        "mask_token": torch.zeros(1, 1, 8),
        "decoder_pos_embed": torch.zeros(1, 5, 8),
        **linear("decoder_embed."),
        **linear("decoder_blocks.0.norm1."),
        **linear("decoder_norm."),
        **linear("decoder_pred."),
    }
    return {"model": {**state, **decoder}, "args": argparse.Namespace(model="mae_vit_base")}


def swav(state: State) -> dict[str, Any]:
    heads = {**linear("module.projection_head.0."), "module.prototypes.weight": torch.ones(3, 4)}
    return {**under("module.", state), **heads}


def barlow_twins(state: State) -> dict[str, Any]:
    heads = {"module.projector.0.weight": torch.ones(3, 4), "module.bn.running_var": torch.ones(3)}
    return {"epoch": 7, "model": {**under("module.backbone.", state), **heads}, "optimizer": {}}


def vicreg(state: State) -> dict[str, Any]:
    return {"model": {**under("module.backbone.", state), **linear("module.projector.0.")}}


def simsiam(state: State) -> dict[str, Any]:
    encoder = {**state, **linear("fc.0.")}
    return {"state_dict": {**under("module.encoder.", encoder), **linear("module.predictor.0.")}}


def lightly(state: State) -> dict[str, Any]:
    """Its examples: ``self.backbone = nn.Sequential(*list(resnet.children())[:-1])``."""
    backbone = under("backbone.", sequential(state))
    return {"state_dict": {**backbone, **linear("projection_head.layers.0.")}}


def lightly_teacher(state: State) -> dict[str, Any]:
    student = under("student_backbone.", other(state))
    return {"state_dict": {**student, **under("teacher_backbone.", state)}}


def lightly_train(state: State) -> dict[str, Any]:
    model = "embedding_model.wrapped_model._model."
    student = under(f"student_{model}", other(state))
    return {"state_dict": {**student, **under(f"teacher_{model}", state)}, "epoch": 1}


def solo_learn(state: State) -> dict[str, Any]:
    heads = {**linear("projector.0."), **linear("classifier.")}
    momentum = under("momentum_backbone.", other(state))
    return {"state_dict": {**momentum, **under("backbone.", state), **heads}, "loops": {}}


def lightning(state: State) -> dict[str, Any]:
    callbacks = {"ModelCheckpoint": {"best_model_score": torch.ones(())}}
    return {"state_dict": under("model.", state), "callbacks": callbacks, "loops": {}}


def compiled(state: State) -> dict[str, Any]:
    return under("_orig_mod.", state)


def plain(state: State) -> dict[str, Any]:
    return dict(state)


# ------------------------------------------------------------------ what layers are called


def sequential(state: State) -> State:
    """The children of a torchvision ResNet by their places."""
    places = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
    split = {name: name.split(".", 1) for name in state}
    return {f"{places[split[n][0]]}.{split[n][1]}": tensor for n, tensor in state.items()}


def dinov2_names(state: State, chunk: int = 0) -> State:
    """timm's names to DINOv2's, of blocks in chunks of ``chunk`` if sharded."""

    def one(name: str) -> str:
        name = name.replace("reg_token", "register_tokens")
        if chunk:
            name = re.sub(r"^blocks\.(\d+)", lambda m: f"blocks.{int(m[1]) // chunk}.{m[1]}", name)
        return name

    return {one(name): tensor for name, tensor in state.items()} | {
        "mask_token": torch.zeros(1, state["pos_embed"].shape[2])
    }


def vissl_regnet(state: State, part: str = "") -> State:
    """torchvision's RegNet by the names that ClassyVision and VISSL's trunk give it."""
    leaves = {
        "proj.0.": "proj.",
        "proj.1.": "bn.",
        "f.c.0.": "f.c.",
        "f.c.1.": "f.final_bn.",
        "f.se.fc1.": "f.se.excitation.0.",
        "f.se.fc2.": "f.se.excitation.2.",
    }

    def one(name: str) -> str:
        if name.startswith("stem."):
            return name.replace("stem.", "conv1.stem.")
        found = re.fullmatch(r"trunk_output\.block(\d)\.(block\d-\d+\.)(.+)", name)
        assert found is not None, name
        stage, block, leaf = found[1], found[2], found[3]
        for ours, theirs in leaves.items():
            leaf = theirs + leaf.removeprefix(ours) if leaf.startswith(ours) else leaf
        return f"res{int(stage) + 1}.{part.format(stage)}{block}{leaf}"

    return {one(name): tensor for name, tensor in state.items()}


File = Callable[[State], dict[str, Any]]

#: Projects whose files hold a ResNet, a transformer, and how the reports call them.
RESNETS: dict[File, str] = {
    vissl: "VISSL",
    vissl_extractor: "VISSL",
    moco_v2: "MoCo v1, v2",
    moco_v3: "MoCo v3",
    dino: "DINO, iBOT, DINOv2",
    swav: "SwAV, DeepCluster-v2",
    barlow_twins: "Barlow Twins, VICReg, SimSiam",
    vicreg: "Barlow Twins, VICReg, SimSiam",
    simsiam: "Barlow Twins, VICReg, SimSiam",
    lightly: "ResNet in a Sequential",
    lightly_teacher: "lightly",
    lightly_train: "lightly-train",
    solo_learn: "solo-learn",
    lightning: "",
    compiled: "",
    plain: "",
}
TRANSFORMERS: dict[File, str] = {
    vissl_transformer: "VISSL, transformer of VISSL",
    moco_v3: "MoCo v3",
    dino: "DINO, iBOT, DINOv2",
    dinov2: "DINO, iBOT, DINOv2, transformer of DINOv2",
    ijepa: "I-JEPA",
    mae: "MAE",
    lightly_train: "lightly-train",
    solo_learn: "solo-learn",
    lightning: "",
    plain: "",
}
