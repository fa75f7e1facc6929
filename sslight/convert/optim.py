"""VISSL's OPTIMIZER to the recipe."""

from __future__ import annotations

from typing import Any

from sslight.convert.schedules import learning_rate, schedule
from sslight.convert.vissl_tree import VisslTree

_O = "OPTIMIZER"

#: VISSL's optimizers -> ours. FSDP's and the multi-tensor one are the same arithmetic.
OPTIMIZERS = {
    "sgd": "sgd",
    "sgd_fsdp": "sgd",
    "lars": "lars",
    "adam": "adam",
    "adamw": "adamw",
    "adamw_mt": "adamw",
    "rmsprop": "RMSprop",
}
#: Parameters that VISSL names in its freeze map -> a pattern that finds ours.
FROZEN = {"prototypes": "prototypes", "last_layer": "last_layer"}
_DINO_FROZEN = {"dino_loss": "^head.last_layer", "ibot_loss": "^heads?.*last_layer"}


def optim_of(tree: VisslTree) -> dict[str, Any]:
    """Return the ``optim`` section."""
    name = str(tree.get(f"{_O}.name", "sgd"))
    larc = bool(tree.get(f"{_O}.use_larc"))
    ours = "larc" if larc else OPTIMIZERS.get(name)
    if ours is None:
        tree.tell(f"{_O}.name", f"the optimizer {name!r} has no counterpart here.")
        ours = "???"
    found: dict[str, Any] = {"optimizer": ours}
    found |= learning_rate(tree, f"{_O}.param_schedulers.lr")
    found["weight_decay"] = _weight_decay(tree)
    found |= _momentum(tree, ours) | _regularised(tree)
    options = _options(tree, ours)
    groups = _groups(tree)
    found |= ({"options": options} if options else {}) | ({"groups": groups} if groups else {})
    return found | _heads(tree)


def _weight_decay(tree: VisslTree) -> Any:
    key = f"{_O}.param_schedulers.weight_decay"
    constant = tree.number(f"{_O}.weight_decay", 1e-4)
    return schedule(tree, key, tree.section(key)) if tree.has(key) else constant


def _momentum(tree: VisslTree, ours: str) -> dict[str, Any]:
    momentum = tree.number(f"{_O}.momentum", 0.9)
    takes_one = ours in ("sgd", "lars", "larc", "RMSprop")
    return {"momentum": momentum} if takes_one and momentum != 0.9 else {}


def _regularised(tree: VisslTree) -> dict[str, Any]:
    """Whether biases and norms decay; VISSL's groups of DINO exempt both, as sslight does."""
    bias, norm = tree.get(f"{_O}.regularize_bias", True), tree.get(f"{_O}.regularize_bn", False)
    groups = str(tree.get(f"{_O}.param_group_constructor", "default"))
    if groups == "lr_decay":
        return {"layer_decay": 0.9}
    if groups == "dino":
        return {}
    return ({"decay_bias": True} if bias else {}) | ({"decay_norm": True} if norm else {})


def _options(tree: VisslTree, ours: str) -> dict[str, Any]:
    """Arguments of the optimizer itself that differ from its defaults."""
    options: dict[str, Any] = {}
    nesterov = tree.get(f"{_O}.nesterov", False)
    betas = tree.get(f"{_O}.betas", [0.9, 0.999])
    if nesterov and ours in ("sgd", "larc"):
        options["nesterov"] = True
    if ours in ("adam", "adamw") and betas != [0.9, 0.999]:
        options["betas"] = betas
    trust = tree.number(f"{_O}.larc_config.trust_coefficient", 0.001)
    clip, eps = (
        tree.get(f"{_O}.larc_config.clip", False),
        tree.number(f"{_O}.larc_config.eps", 1e-8),
    )
    eta, exclude = tree.number(f"{_O}.eta", 0.001), tree.get(f"{_O}.exclude_bias_and_norm", False)
    if ours == "lars":
        options |= {"eta": eta} if eta != 0.001 else {}
        options |= {} if exclude else {"exclude_1d": False}
    if ours == "larc":
        options |= {"trust": trust} if trust != 0.001 else {}
        options |= {"clip": True} if clip else {}
        options |= {"eps": eps} if eps != 1e-8 else {}
    return options


def _groups(tree: VisslTree) -> list[dict[str, Any]]:
    """The rules of single parameters: frozen for a while, or without decay."""
    loss = str(tree.get("LOSS.name", ""))
    rules: dict[str, dict[str, Any]] = {}
    key = "MODEL.TEMP_FROZEN_PARAMS_ITER_MAP"
    for name, steps in tree.get(key, []):
        pattern = _DINO_FROZEN.get(loss) or next((p for w, p in FROZEN.items() if w in name), None)
        if pattern is None:
            tree.tell(
                key, f"{name!r} is VISSL's name of a parameter; write a rule in optim.groups."
            )
        else:
            rules[pattern] = {"pattern": pattern, "freeze_steps": int(steps)}
    for word in tree.get(f"{_O}.non_regularized_parameters", []):
        rules[word] = {"pattern": str(word), "weight_decay": 0.0}
    return list(rules.values())


def _heads(tree: VisslTree) -> dict[str, Any]:
    """Another learning rate of the heads."""
    key = f"{_O}.head_optimizer_params"
    other_lr, other_wd = tree.get(f"{key}.use_different_lr"), tree.get(f"{key}.use_different_wd")
    decay = tree.number(f"{key}.weight_decay", 1e-4)
    if other_wd:
        tree.tell(key, f"heads decay by {decay:g}: write optim.groups with a pattern for them.")
    if not other_lr:
        tree.section(f"{_O}.param_schedulers.lr_head")  # stands in a whole file, without effect
        return {}
    head = learning_rate(tree, f"{_O}.param_schedulers.lr_head")["lr"]
    tree.tell(f"{_O}.param_schedulers.lr_head", "a head's rate follows the shape of lr here.")
    peak = head if isinstance(head, float | int) else _peak(head)
    return {"head_lr": peak}


def _peak(node: dict[str, Any]) -> float:
    """The largest value of a schedule's node."""
    if "parts" in node:
        return max(_peak(part) for part in node["parts"])
    values = node.get("values") or [node.get(word, 0) for word in ("start", "end", "value")]
    return float(max(values))
