"""What VISSL's list of heads says: widths, batch norm, clusters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sslight.convert.vissl_tree import VisslTree

KEY = "MODEL.HEAD.PARAMS"


@dataclass(frozen=True)
class Heads:
    """The heads of a VISSL model, as one chain.

    Attributes:
        names: The kind of each link: ``mlp``, ``swav_head``, ``siamese_concat_view``, ...
        widths: Widths from the trunk's to the output's.
        options: The arguments of all links, later ones over earlier ones.
        bn: Whether any link has batch norm.
        first: Widths of the first link alone.
    """

    names: list[str] = field(default_factory=list)
    widths: list[int] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    bn: bool = False
    first: list[int] = field(default_factory=list)


def heads_of(tree: VisslTree) -> Heads:
    """Return the chain of heads; of several heads the last one, that of whole images."""
    links = tree.get(KEY, [])
    if links and links[0] and isinstance(links[0][0], list):
        links = links[-1]
    widths: list[int] = []
    options: dict[str, Any] = {}
    for _, arguments in links:
        dims = [int(width) for width in arguments.get("dims", [])]
        widths += dims if not widths else dims[1:]
        options |= arguments
    return Heads(
        names=[str(name) for name, _ in links],
        widths=widths,
        options=options,
        bn=any(arguments.get("use_bn") for _, arguments in links),
        first=[int(width) for width in (links[0][1].get("dims", []) if links else [])],
    )


def projector(heads: Heads, *, layers: bool = False, bn: bool = False) -> dict[str, Any]:
    """Return the keys of a projector: its widths, and its depth and batch norm where asked."""
    if len(heads.widths) < 2:
        return {}
    found: dict[str, Any] = {}
    if len(heads.widths) > 2:
        found["hidden_dim"] = heads.widths[1]
    found["out_dim"] = heads.widths[-1]
    found |= {"layers": len(heads.widths) - 1} if layers else {}
    return found | ({"bn": heads.bn} if bn else {})


def tell_odd_widths(tree: VisslTree, heads: Heads, most_layers: int | None) -> None:
    """Note hidden layers that a method of ours cannot have."""
    hidden = heads.widths[1:-1]
    if len(set(hidden)) > 1:
        tree.tell(KEY, f"hidden layers of {hidden}: all have one width here, the first's.")
    if most_layers is not None and len(hidden) + 1 > most_layers:
        tree.tell(KEY, f"{len(hidden) + 1} linear layers; the method here has {most_layers}.")
