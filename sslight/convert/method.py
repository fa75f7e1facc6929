"""VISSL's losses and heads to methods: which loss is which method, and its keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sslight.convert.heads import KEY as HEADS
from sslight.convert.heads import Heads, heads_of, projector, tell_odd_widths
from sslight.convert.size import epochs_of
from sslight.convert.vissl_tree import VisslTree

#: VISSL's names of what a loss takes -> ours, where a value is carried over as it is.
SAME: dict[str, dict[str, str]] = {
    "simclr": {"temperature": "temperature"},
    "swav": {
        "temperature": "temperature",
        "epsilon": "epsilon",
        "num_iters": "sinkhorn_iterations",
        "queue.queue_length": "queue_size",
        "momentum": "momentum_teacher",
    },
    "moco_v2": {"queue_size": "queue_size", "momentum": "momentum", "temperature": "temperature"},
    "barlow_twins": {"lambda_": "redundancy_weight", "scale_loss": "scale"},
    "dino": {"student_temp": "student_temperature", "ema_center": "center_momentum"},
    "ibot": {
        "student_temp": "student_temperature",
        "lambda1": "cls_weight",
        "lambda2": "patch_weight",
    },
    "deepcluster_v2": {"temperature": "temperature", "kmeans_iters": "kmeans_iterations"},
    "npid": {
        "temperature": "temperature",
        "negative_sampling_params.num_negatives": "num_negatives",
        "memory_params.momentum": "momentum",
    },
    "supervised": {},
    "rotnet": {},
    "jigsaw": {},
}
SAME["pirl"] = SAME["npid"]

#: What VISSL fills in by itself, or repeats from another key: nothing to carry over.
DERIVED = (
    *("embedding_dim", "num_crops", "num_prototypes", "output_dir", "num_train_samples"),
    *("BATCHSIZE_PER_REPLICA", "DROP_LAST", "output_dim", "normalize_last_layer", "world_size"),
    *("buffer_params.embedding_dim", "buffer_params.world_size", "ignore_index", "reduction"),
    *("buffer_params.effective_batch_size", "memory_params.embedding_dim", "norm_embedding"),
    *("memory_params.memory_size", "memory_params.norm_init", "queue.local_queue_length"),
    *("memory_params.update_mem_on_forward", "update_mem_with_emb_index", "norm_constant"),
    *("negative_sampling_params.type", "crops_for_teacher"),
)

_LOSSES = {
    "simclr_info_nce_loss": "simclr",
    "multicrop_simclr_info_nce_loss": "simclr",
    "swav_loss": "swav",
    "swav_momentum_loss": "swav",
    "moco_loss": "moco_v2",
    "barlow_twins_loss": "barlow_twins",
    "dino_loss": "dino",
    "ibot_loss": "ibot",
    "deepclusterv2_loss": "deepcluster_v2",
    "nce_loss_with_memory": "npid",
    "cross_entropy_multiple_output_single_target": "supervised",
    "CrossEntropyLoss": "supervised",
    "bce_logits_multiple_output_single_target": "supervised",
}


def method_of(tree: VisslTree) -> dict[str, Any]:
    """Return the ``method`` node; its name is ``???`` where no method here has that loss."""
    loss = str(tree.get("LOSS.name", "CrossEntropyLoss"))
    name = _method_name(tree, loss)
    tree.get("MODEL.MULTI_INPUT_HEAD_MAPPING")
    if name is None:
        tree.tell("LOSS.name", f"no method here has the loss {loss!r}: see `sslight list methods`.")
        tree.get(HEADS)
        return {"name": "???"}
    heads = heads_of(tree)
    found: dict[str, Any] = {"name": name}
    found |= _EXTRA.get(name, _nothing)(tree, f"LOSS.{loss}", heads)
    for theirs, ours in SAME[name].items():
        value = tree.get(f"LOSS.{loss}.{theirs}")
        if value is not None:
            found[ours] = value
    for key in DERIVED:
        tree.get(f"LOSS.{loss}.{key}")
    tree.get("LOSS.ignore_index")
    return found


def _method_name(tree: VisslTree, loss: str) -> str | None:
    """Tell methods that share a loss apart by their data and heads."""
    name = _LOSSES.get(loss)
    transforms = {str(step.get("name")) for step in tree.get("DATA.TRAIN.TRANSFORMS", [])}
    if name == "npid" and "ImgPilToPatchesAndImage" in transforms:
        return "pirl"
    if name == "supervised" and "ImgRotatePil" in transforms:
        return "rotnet"
    if name == "supervised" and "ShuffleImgPatches" in transforms:
        return "jigsaw"
    return name


# ------------------------------------------------------------------ keys that need a thought


def _nothing(tree: VisslTree, loss: str, heads: Heads) -> dict[str, Any]:
    return {}


def _simclr(tree: VisslTree, loss: str, heads: Heads) -> dict[str, Any]:
    tell_odd_widths(tree, heads, None)
    return projector(heads, layers=True, bn=True)


def _barlow(tree: VisslTree, loss: str, heads: Heads) -> dict[str, Any]:
    tell_odd_widths(tree, heads, None)
    return projector(heads, layers=True)


def _moco(tree: VisslTree, loss: str, heads: Heads) -> dict[str, Any]:
    tell_odd_widths(tree, heads, 2)
    return projector(heads)


def _swav(tree: VisslTree, loss: str, heads: Heads) -> dict[str, Any]:
    tell_odd_widths(tree, heads, 2)
    clusters = [int(number) for number in heads.options.get("num_clusters", [3000])]
    found = projector(heads, bn=True)
    found["num_prototypes"] = clusters[0] if len(clusters) == 1 else clusters
    found |= _crops(tree, f"{loss}.crops_for_assign", "code_crops")
    start = epochs_of(tree, tree.number(f"{loss}.queue.start_iter", 0), f"{loss}.queue.start_iter")
    return found | ({"queue_start": start} if start else {})


def _deepcluster(tree: VisslTree, loss: str, heads: Heads) -> dict[str, Any]:
    tell_odd_widths(tree, heads, 2)
    clusters = [int(number) for number in tree.get(f"{loss}.num_clusters", [3000] * 3)]
    if len(set(clusters)) > 1:
        tree.tell(f"{loss}.num_clusters", f"{clusters}: all heads have the first's number here.")
    found = projector(heads, bn=True)
    found |= {"num_clusters": clusters[0], "heads": len(clusters)}
    return found | _crops(tree, f"{loss}.memory_params.crops_for_mb", "memory_crops")


def _crops(tree: VisslTree, key: str, ours: str) -> dict[str, Any]:
    """Numbers of crops to a count: here they are always the first ones."""
    crops = tree.get(key)
    if crops is None:
        return {}
    if list(crops) != list(range(len(crops))):
        tree.tell(key, f"crops {crops}: here it is always the first {len(crops)}.")
    return {ours: len(crops)}


def _dino(tree: VisslTree, loss: str, heads: Heads) -> dict[str, Any]:
    clusters = heads.options.get("num_clusters", [65536])
    found: dict[str, Any] = {
        "out_dim": int(clusters[0] if isinstance(clusters, list) else clusters)
    }
    found["norm_last_layer"] = bool(heads.options.get("normalize_last_layer", True))
    found |= {"bn": True} if heads.options.get("use_bn") else {}
    for theirs in ("hidden_dim", "bottleneck_dim"):
        found |= {theirs: int(heads.options[theirs])} if theirs in heads.options else {}
    momentum = tree.number(f"{loss}.momentum", 0.996)
    found["momentum"] = {"name": "cosine", "start": momentum, "end": 1.0}
    return found | _teacher_temperature(tree, loss)


def _teacher_temperature(tree: VisslTree, loss: str) -> dict[str, Any]:
    low = tree.number(f"{loss}.teacher_temp_min", 0.04)
    high = tree.number(f"{loss}.teacher_temp_max", 0.07)
    key = f"{loss}.teacher_temp_warmup_iters"
    epochs = epochs_of(tree, tree.number(key, 37500), key)
    if epochs is None:
        return {}
    if not epochs or low == high:
        return {"teacher_temperature": high}
    rest = {"name": "constant", "value": high}
    return {
        "teacher_temperature": {"name": "warmup", "start": low, "epochs": epochs, "schedule": rest}
    }


def _npid(tree: VisslTree, loss: str, heads: Heads) -> dict[str, Any]:
    tell_odd_widths(tree, heads, 1)
    tree.get(f"{loss}.loss_weights")
    _tell_softmax(tree, loss)
    return {"out_dim": heads.widths[-1]} if heads.widths else {}


def _pirl(tree: VisslTree, loss: str, heads: Heads) -> dict[str, Any]:
    found = _npid(tree, loss, heads)
    weights = tree.get(f"{loss}.loss_weights", [0.5, 0.5])
    return found | {"patch_weight": weights[0] / sum(weights)}


def _tell_softmax(tree: VisslTree, loss: str) -> None:
    kind = tree.get(f"{loss}.loss_type", "nce")
    if kind != "nce":
        tree.tell(f"{loss}.loss_type", f"{kind!r}: memory methods here have the NCE loss only.")


def _supervised(tree: VisslTree, loss: str, heads: Heads) -> dict[str, Any]:
    found: dict[str, Any] = {"num_classes": heads.widths[-1]} if heads.widths else {}
    found |= {"multi_label": True} if "bce" in loss else {}
    if len(heads.widths) > 2:
        tree.tell(HEADS, f"{len(heads.widths) - 1} linear layers; the head here is linear.")
    mixed = "DATA.TRAIN.COLLATE_FUNCTION_PARAMS"
    if tree.get("DATA.TRAIN.COLLATE_FUNCTION") == "cutmixup_collator":
        found["mixup"] = tree.number(f"{mixed}.mixup_alpha", 1.0)
        found["cutmix"] = tree.number(f"{mixed}.cutmix_alpha", 1.0)
        found["mix_prob"] = tree.number(f"{mixed}.prob", 1.0)
        found["label_smoothing"] = tree.number(f"{mixed}.label_smoothing", 0.1)
    if tree.number(f"{loss}.temperature", 1.0) != 1.0:
        tree.tell(f"{loss}.temperature", "softmax has the temperature 1 here.")
    return found | _frozen(tree)


def _frozen(tree: VisslTree) -> dict[str, Any]:
    """VISSL's linear protocol: a frozen trunk, heads on several layers."""
    key = "MODEL.FEATURE_EVAL_SETTINGS"
    on = tree.get(f"{key}.EVAL_MODE_ON")
    frozen = tree.get(f"{key}.FREEZE_TRUNK_ONLY") or tree.get(f"{key}.FREEZE_TRUNK_AND_HEAD")
    layers = tree.get(f"{key}.LINEAR_EVAL_FEAT_POOL_OPS_MAP", [])
    if len(layers) > 1:
        names = ", ".join(str(name) for name, *_ in layers)
        tree.tell(
            f"{key}.LINEAR_EVAL_FEAT_POOL_OPS_MAP",
            f"several layers at once ({names}): `extract.layers` stores them, and "
            "`sslight eval linear` evaluates each.",
        )
    return {"frozen": True} if on and frozen else {}


def _rotnet(tree: VisslTree, loss: str, heads: Heads) -> dict[str, Any]:
    layers = max(1, len(heads.widths) - 1)
    hidden = {"hidden_dim": heads.widths[1]} if layers > 1 else {}
    return ({"layers": layers} if layers > 1 else {}) | hidden


def _jigsaw(tree: VisslTree, loss: str, heads: Heads) -> dict[str, Any]:
    found: dict[str, Any] = {"num_permutations": heads.widths[-1]} if heads.widths else {}
    found |= {"hidden_dim": heads.first[-1]} if heads.first else {}
    for step in tree.get("DATA.TRAIN.TRANSFORMS", []):
        if step.get("name") == "ShuffleImgPatches":
            best = "minimum" if "max_min" in str(step.get("perm_file")) else "average"
            found |= {"criterion": best} if best != "average" else {}
            tree.tell(
                "DATA.TRAIN.TRANSFORMS.ShuffleImgPatches.perm_file",
                "permutations are made when the method is built, by the same rule, not read.",
            )
    return found


_EXTRA: dict[str, Callable[[VisslTree, str, Heads], dict[str, Any]]] = {
    "simclr": _simclr,
    "barlow_twins": _barlow,
    "moco_v2": _moco,
    "swav": _swav,
    "deepcluster_v2": _deepcluster,
    "dino": _dino,
    "ibot": _dino,
    "npid": _npid,
    "pirl": _pirl,
    "supervised": _supervised,
    "rotnet": _rotnet,
    "jigsaw": _jigsaw,
}
