"""VISSL's trunks to backbones."""

from __future__ import annotations

from typing import Any

from sslight.convert.vissl_tree import VisslTree

_T = "MODEL.TRUNK"

#: (depth, groups, width per group) -> our name.
RESNETS = {
    **{(depth, 1, 64): f"resnet{depth}" for depth in (18, 34, 50, 101, 152)},
    (50, 32, 4): "resnext50_32x4d",
    (101, 32, 8): "resnext101_32x8d",
    (101, 64, 4): "resnext101_64x4d",
    (50, 1, 128): "wide_resnet50_2",
    (101, 1, 128): "wide_resnet101_2",
}
#: Width -> letter of our vision transformers, and the patch sizes that have a name.
VITS = {192: "t", 384: "s", 768: "b", 1024: "l", 1280: "h"}
VIT_PATCHES = {"t": (16,), "s": (16, 14), "b": (16, 32, 14), "l": (16, 32, 14), "h": (14,)}
_VIT_SHAPES = {
    "t": (192, 12, 3),
    "s": (384, 12, 6),
    "b": (768, 12, 12),
    "l": (1024, 24, 16),
    "h": (1280, 32, 16),
}
#: Rates of a vision transformer's drops, theirs -> ours.
_RATES = {
    "DROPOUT_RATE": "dropout",
    "ATTENTION_DROPOUT_RATE": "attention_drop",
    "DROP_PATH_RATE": "drop_path",
}
#: Trunks whose name decides: what to write in their place.
ELSEWHERE = {
    "xcit": "timm/xcit_small_12_p16_224",
    "beit": "timm/beit_base_patch16_224",
    "convit": "timm/convit_small",
    "convnext": "convnext_tiny",
    "swin_transformer": "swin_t",
    "mobilenetv3_tv": "mobilenet_v3_large",
}


def backbone_of(tree: VisslTree) -> dict[str, Any]:
    """Return the ``backbone`` node; its name is ``???`` where none here is like the trunk."""
    name = str(tree.get(f"{_T}.NAME", "resnet"))
    if name == "resnet":
        return _resnet(tree)
    if name.startswith("vision_transformer"):
        return _vit(tree)
    if name.startswith("regnet"):
        return _by_name(tree, f"{_T}.REGNET.name")
    if name == "efficientnet":
        version = str(tree.get(f"{_T}.EFFICIENT_NETS.model_version", "")).replace("-", "_")
        tree.section(f"{_T}.EFFICIENT_NETS")
        return {"name": version.lower() or "???"}
    nearest = next((ours for word, ours in ELSEWHERE.items() if word in name), None)
    hint = f"such as `{nearest}`" if nearest else "see `sslight list backbones`, or `timm/<model>`"
    tree.tell(f"{_T}.NAME", f"choose the backbone that is meant by {name!r}, {hint}.")
    return {"name": "???"}


def _by_name(tree: VisslTree, key: str) -> dict[str, Any]:
    name = str(tree.get(key, "")).lower()
    tree.section(key.rpartition(".")[0])
    if not name:
        tree.tell(key, "a RegNet by its numbers: choose one of `sslight list backbones`, regnet_*.")
    return {"name": name or "???"}


def _resnet(tree: VisslTree) -> dict[str, Any]:
    r = f"{_T}.RESNETS"
    shape = (
        tree.whole(f"{r}.DEPTH", 50),
        tree.whole(f"{r}.GROUPS", 1),
        tree.whole(f"{r}.WIDTH_PER_GROUP", 64),
    )
    found: dict[str, Any] = {"name": RESNETS.get(shape, "???")}
    if found["name"] == "???":
        tree.tell(f"{r}.DEPTH", f"no ResNet here has depth, groups and width per group {shape}.")
    width = tree.number(f"{r}.WIDTH_MULTIPLIER", 1)
    found |= {"width": int(64 * width)} if width != 1 else {}
    found |= {"zero_init_residual": True} if tree.get(f"{r}.ZERO_INIT_RESIDUAL") else {}
    _tell_resnet(tree, r)
    return found


def _tell_resnet(tree: VisslTree, r: str) -> None:
    tree.get(f"{r}.GROUPNORM_GROUPS")
    for key, usual in (("NORM", "BatchNorm"), ("LAYER4_STRIDE", 2)):
        value = tree.get(f"{r}.{key}", usual)
        if value != usual:
            tree.tell(f"{r}.{key}", f"{value!r}: ResNets here have {usual!r}.")


def _vit(tree: VisslTree) -> dict[str, Any]:
    v = f"{_T}.VISION_TRANSFORMERS"
    named = tree.get(f"{v}.name")
    if named:
        return {"name": str(named)} | _vit_options(tree, v)
    width, patch = tree.whole(f"{v}.HIDDEN_DIM", 768), tree.whole(f"{v}.PATCH_SIZE", 16)
    letter = VITS.get(width, "b")
    named_patch = patch if patch in VIT_PATCHES[letter] else VIT_PATCHES[letter][0]
    found: dict[str, Any] = {"name": f"vit_{letter}_{named_patch}"}
    found |= {"patch_size": patch} if patch != named_patch else {}
    shape = (width, tree.whole(f"{v}.NUM_LAYERS", 12), tree.whole(f"{v}.NUM_HEADS", 12))
    for key, value, usual in zip(
        ("width", "depth", "heads"), shape, _VIT_SHAPES[letter], strict=True
    ):
        found |= {key: value} if value != usual else {}
    mlp = tree.whole(f"{v}.MLP_DIM", 4 * width)
    if mlp != 4 * width:
        tree.tell(f"{v}.MLP_DIM", f"{mlp}: it is always four times the width here.")
    return found | _vit_options(tree, v)


def _vit_options(tree: VisslTree, v: str) -> dict[str, Any]:
    size = tree.whole(f"{v}.IMAGE_SIZE", 224)
    found: dict[str, Any] = {"image_size": size} if size != 224 else {}
    for theirs, ours in _RATES.items():
        value = tree.number(f"{v}.{theirs}", 0)
        found |= {ours: value} if value else {}
    for key in ("CLASSIFIER", "QKV_BIAS", "QK_SCALE"):
        tree.get(f"{v}.{key}")
    return found
