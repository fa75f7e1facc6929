"""VISSL's run: devices, precision, strategy, checkpoints, weights to start from."""

from __future__ import annotations

from typing import Any

from sslight.convert.size import devices, nodes
from sslight.convert.vissl_tree import VisslTree

#: Apex's levels of mixed precision -> Lightning's precision.
APEX = {"O0": "32-true", "O1": "16-mixed", "O2": "16-mixed", "O3": "16-true"}


def settings_of(tree: VisslTree) -> dict[str, Any]:
    """Return the keys at the top: seed, run_dir, resume, init."""
    found: dict[str, Any] = {"seed": tree.whole("SEED_VALUE", 0)}
    folder = str(tree.get("CHECKPOINT.DIR", "."))
    found |= {"run_dir": folder} if folder not in ("", ".") else {}
    if not tree.get("CHECKPOINT.AUTO_RESUME", True):
        tree.tell("CHECKPOINT.AUTO_RESUME", "`never` refuses a folder that holds a run.")
        found["resume"] = "never"
    weights = tree.get("MODEL.WEIGHTS_INIT.PARAMS_FILE")
    tree.section("MODEL.WEIGHTS_INIT")
    if weights:
        tree.tell(
            "MODEL.WEIGHTS_INIT",
            "prefixes and the name of the state are found by themselves and were left out"
            + ("; an address needs `#sha256=<64 hex digits>`." if "://" in str(weights) else "."),
        )
    return found | ({"init": str(weights)} if weights else {})


def trainer_of(tree: VisslTree) -> dict[str, Any]:
    """Return the ``trainer`` section."""
    found: dict[str, Any] = {"max_epochs": tree.whole("OPTIMIZER.num_epochs", 90)}
    found["accelerator"] = "gpu" if tree.get("MACHINE.DEVICE", "gpu") == "gpu" else "cpu"
    found["devices"] = devices(tree)
    found |= {"num_nodes": nodes(tree)} if nodes(tree) > 1 else {}
    found |= _precision(tree) | {"sync_batchnorm": _batch_norm(tree)} | _strategy(tree)
    norm = tree.number("MODEL.GRAD_CLIP.MAX_NORM", 1)
    kind = tree.get("MODEL.GRAD_CLIP.NORM_TYPE", 2)
    if tree.get("MODEL.GRAD_CLIP.USE_GRAD_CLIP"):
        found["gradient_clip_val"] = norm
        if str(kind) not in ("2", "2.0"):
            tree.tell("MODEL.GRAD_CLIP.NORM_TYPE", f"{kind}: the norm is the Euclidean one here.")
    found["log_every_n_steps"] = tree.whole("LOG_FREQUENCY", 10)
    every = tree.whole("TEST_EVERY_NUM_EPOCH", 1)
    found |= {"check_val_every_n_epoch": every} if every != 1 else {}
    exact = tree.get("REPRODUCIBILITY.CUDDN_DETERMINISTIC")
    profiled = tree.get("PROFILING.RUNTIME_PROFILING.USE_PROFILER")
    found |= {"deterministic": True} if exact else {}
    return found | ({"profiler": "pytorch"} if profiled else {})


def _precision(tree: VisslTree) -> dict[str, Any]:
    """Apex's levels have no exact counterpart: Lightning's autocast is the nearest."""
    on = tree.get("MODEL.AMP_PARAMS.USE_AMP")
    kind = str(tree.get("MODEL.AMP_PARAMS.AMP_TYPE", "apex"))
    level = str(tree.get("MODEL.AMP_PARAMS.AMP_ARGS.opt_level", "O1"))
    tree.section("MODEL.AMP_PARAMS")
    if not on:
        return {}
    if kind == "pytorch":
        return {"precision": "16-mixed"}
    tree.tell(
        "MODEL.AMP_PARAMS",
        f"Apex's level {level} became precision {APEX.get(level, '16-mixed')}, which is PyTorch's "
        "autocast; bf16-mixed needs no loss scale where the GPU has it.",
    )
    return {"precision": APEX.get(level, "16-mixed")}


def _batch_norm(tree: VisslTree) -> bool | int:
    """True for all ranks, the number of ranks in a group, or False."""
    s = "MODEL.SYNC_BN_CONFIG"
    on, size = tree.get(f"{s}.CONVERT_BN_TO_SYNC_BN"), tree.whole(f"{s}.GROUP_SIZE", -1)
    tree.get(f"{s}.SYNC_BN_TYPE")
    world = devices(tree) * nodes(tree)
    group = devices(tree) if size == -1 else min(size, world)
    return bool(on) if not on or group in (0, world) else group


def _strategy(tree: VisslTree) -> dict[str, Any]:
    sharded = (
        tree.get("MODEL.FSDP_CONFIG.AUTO_SETUP_FSDP")
        or tree.get("OPTIMIZER.use_zero")
        or tree.get("MODEL.SHARDED_DDP_SETUP.USE_SDP")
        or "fsdp" in str(tree.get("TRAINER.TASK_NAME", ""))
    )
    tree.section("MODEL.FSDP_CONFIG")
    bucket = tree.whole("DATA.DDP_BUCKET_CAP_MB", 25)
    if sharded:
        return {"strategy": "model_parallel"}
    if tree.get("DISTRIBUTED.MANUAL_GRADIENT_REDUCTION"):
        return {"strategy": "manual"}
    return {"strategy": {"name": "ddp", "bucket_cap_mb": bucket}} if bucket != 25 else {}


def callbacks_of(tree: VisslTree) -> dict[str, Any]:
    """Return ``callbacks``: checkpoints, averaged weights, histograms."""
    found: dict[str, Any] = {}
    steps = tree.whole("CHECKPOINT.CHECKPOINT_ITER_FREQUENCY", -1)
    found["checkpoint"] = {"every_n_epochs": tree.whole("CHECKPOINT.CHECKPOINT_FREQUENCY", 1)}
    found["checkpoint"] |= {"every_n_steps": steps} if steps > 0 else {}
    if tree.get("HOOKS.EMA_MODEL.SAVE_EMA_MODEL") or tree.get("HOOKS.EMA_MODEL.ENABLE_EMA_METERS"):
        found["ema_weights"] = {"decay": tree.number("HOOKS.EMA_MODEL.DECAY", 0.9999)}
    board = "HOOKS.TENSORBOARD_SETUP"
    steps = tree.whole(f"{board}.LOG_PARAMS_EVERY_N_ITERS", 310)
    weights = bool(tree.get(f"{board}.LOG_PARAMS", True))
    gradients = bool(tree.get(f"{board}.LOG_PARAMS_GRADIENTS", True))
    if tree.get(f"{board}.USE_TENSORBOARD") and (weights or gradients) and steps > 0:
        found["histograms"] = {
            "every_n_steps": steps,
            "parameters": weights,
            "gradients": gradients,
        }
    return found
