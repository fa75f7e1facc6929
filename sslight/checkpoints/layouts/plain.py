"""A backbone under its own names, or below names that only say who held it."""

from __future__ import annotations

from collections.abc import Iterable

from sslight.checkpoints.layouts._names import Names

#: Parts of a name that say who held the backbone: containers of files, Lightning, DDP, wrappers.
HOLDERS = frozenset(
    [
        "state_dict",
        "model",
        "model_state_dict",
        "module",
        "backbone",
        "encoder",
        "net",
        "network",
        "trunk",
        "vit",
        "base_model",
        "feature_extractor",
        "online_network",
        "resnet",
        "_model",
        "_features",
    ]
)
# An average beside the network that gradients train: taken only where there is nothing else.
_SECOND = ("momentum", "target", "ema", "teacher", "_k", "_m")


def unwrappings(names: Iterable[str]) -> list[Names]:
    """One per prefix of holders' names, the shortest first: the backbone's own names choose."""
    listed = list(names)
    found = {""}
    for name in listed:
        parts = name.split(".")[:-1]
        for i, part in enumerate(parts, 1):
            if part not in HOLDERS:
                break
            found.add(".".join(parts[:i]) + ".")
    return [below(listed, prefix) for prefix in sorted(found, key=len)]


def below(names: Iterable[str], prefix: str) -> Names:
    """Names that start with ``prefix``, less it."""
    return {name: name[len(prefix) :] for name in names if name.startswith(prefix)}


def anywhere(names: Iterable[str], own: Iterable[str]) -> Names:
    """Names below whatever prefix holds most of the backbone's ``own`` names."""
    listed, wanted = list(names), list(own)
    ends = {name: f".{name}" for name in wanted[:3]}
    prefixes = {n[: -len(o)] for n in listed for o, end in ends.items() if n.endswith(end)}
    known = set(listed)

    def rank(prefix: str) -> tuple[int, bool, int]:
        parts = prefix.split(".")
        second = any(word in part for part in parts for word in _SECOND)
        return sum(f"{prefix}{name}" in known for name in wanted), not second, -len(prefix)

    return below(listed, max(sorted(prefixes), key=rank)) if prefixes else {}
