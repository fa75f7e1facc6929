"""VISSL's parameter schedulers, and its rule for scaling them with the batch."""

from __future__ import annotations

from typing import Any

from sslight.convert.size import global_batch, nodes
from sslight.convert.vissl_tree import VisslTree, as_number

_SCALERS = ("auto_scale", "base_value", "base_lr_batch_size", "scaling_type")


def learning_rate(tree: VisslTree, key: str) -> dict[str, Any]:
    """Return ``lr`` and what belongs to its scaling, as keys of ``optim``."""
    node = tree.section(key)
    if not node:  # VISSL's default
        node = {"name": "multistep", "values": [0.1, 0.01, 0.001], "milestones": [30, 60]}
    scaling = node.pop("auto_lr_scaling", {})
    if not scaling.get("auto_scale"):
        return {"lr": schedule(tree, key, node)}
    base = as_number(scaling.get("base_value", 0.1))
    batch = int(scaling.get("base_lr_batch_size", 256))
    kind = str(scaling.get("scaling_type", "linear"))
    node = _unscaled(tree, key, node, base, batch, kind)
    found = {"lr": schedule(tree, key, node), "scale_lr": kind}
    return found | ({"base_batch_size": batch} if batch != 256 else {})


def schedule(tree: VisslTree, key: str, node: dict[str, Any]) -> dict[str, Any] | float:
    """Return a scheduler as a schedule's node; a constant as a number."""
    name = str(node.get("name", "constant"))
    per = {"per": "epoch"} if node.get("update_interval", "epoch") == "epoch" else {}
    value = {word: node[word] for word in node if word not in ("name", "update_interval")}
    if name == "constant":
        return as_number(value.get("value", 0.1))
    if name == "composite":
        return _composite(tree, key, node) | per
    if name in _CURVES:
        theirs_to_ours = _CURVES[name]
        told = {ours: _numbers(value[t]) for t, ours in theirs_to_ours.items() if t in value}
        return {"name": _NAMES.get(name, name), **told} | (per if name in _SMOOTH else {})
    tree.tell(key, f"the scheduler {name!r} has no counterpart; set the schedule yourself.")
    return {"name": "???"}


#: Arguments of VISSL's schedulers: theirs -> ours.
_CURVES = {
    "linear": {"start_value": "start", "end_value": "end"},
    "cosine": {"start_value": "start", "end_value": "end"},
    "multistep": {"values": "values", "milestones": "milestones"},
    "step_with_fixed_gamma": {"base_value": "start", "num_updates": "every", "gamma": "gamma"},
    "polynomial": {"base_value": "start", "power": "power"},
    "inverse_sqrt": {"start_value": "start", "warmup_interval_length": "timescale"},
}
_NAMES = {"step_with_fixed_gamma": "step"}
_SMOOTH = ("linear", "cosine", "polynomial")


def _composite(tree: VisslTree, key: str, node: dict[str, Any]) -> dict[str, Any]:
    """Parts one after the other, each with progress of its own or the whole training's."""
    parts = [
        schedule(tree, key, {"update_interval": "step", **part}) for part in node["schedulers"]
    ]
    written = [p if isinstance(p, dict) else {"name": "constant", "value": p} for p in parts]
    if len(written) == 1:
        return written[0]
    scaling = node.get("interval_scaling") or ["rescaled"] * len(written)
    return {
        "name": "sequence",
        "parts": written,
        "lengths": _numbers(node["lengths"]),
        "progress": [str(word) for word in scaling],
    }


def _numbers(value: Any) -> Any:
    return [as_number(v) for v in value] if isinstance(value, list) else as_number(value)


# ------------------------------------------------------------------ automatic scaling


def _unscaled(
    tree: VisslTree, key: str, node: dict[str, Any], base: float, batch: int, kind: str
) -> dict[str, Any]:
    """Return the scheduler that VISSL's scaling makes, for a batch of ``base_lr_batch_size``.

    VISSL overwrites the values of the file: every peak becomes ``base_value``, an end keeps its
    ratio to its start, and the start of a linear warmup becomes the rate of one machine's batch. On
    one machine a warmup that starts no higher than it ends is dropped.
    """
    if node.get("name") != "composite":
        return _rebased(tree, node, base, batch, kind)
    parts = [_rebased(tree, dict(part), base, batch, kind) for part in node["schedulers"]]
    factor = global_batch(tree) / batch
    dropped = nodes(tree) == 1 and factor <= _scale(factor, kind)
    kept = [part for part in parts if not (dropped and part["name"] == "linear")]
    if len(kept) == 1 < len(parts):
        tree.tell(
            key,
            "VISSL's automatic scaling drops the warmup where all devices are on one machine, and "
            "the rest then spans the whole training; so it does here.",
        )
        parts = kept
    return {**node, "schedulers": parts}


def _rebased(
    tree: VisslTree, node: dict[str, Any], base: float, batch: int, kind: str
) -> dict[str, Any]:
    name = node.get("name")
    if name == "cosine":
        start, end = as_number(node.get("start_value", 0.1)), as_number(node.get("end_value", 0))
        return {**node, "start_value": base, "end_value": base * end / start if start else 0.0}
    if name == "linear":
        factor = global_batch(tree) / batch
        start = base * (factor / nodes(tree)) / _scale(factor, kind)
        return {**node, "start_value": round(start, 10), "end_value": base}
    if name in ("multistep", "step"):
        values = _numbers(node["values"])
        gamma = round(values[1] / values[0], 6) if len(values) > 1 else 1.0
        return {**node, "values": [float(f"{base * gamma**i:.6g}") for i in range(len(values))]}
    if name == "constant":
        return {**node, "value": base}
    return {**node, "start_value": base, "base_value": base}


def _scale(factor: float, kind: str) -> float:
    """By what the automatic scaling multiplies a rate for ``factor`` times the base batch."""
    return factor**0.5 if kind == "sqrt" else factor
