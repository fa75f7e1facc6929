"""VISSL: ``classy_state_dict.base_model.model.trunk``, also consolidated RegNets (SEER)."""

from __future__ import annotations

from collections.abc import Iterable

from sslight.checkpoints.layouts._names import (
    Names,
    Spelling,
    Wrapping,
    any_matches,
    renamed,
    within,
)

_MODEL = "classy_state_dict.base_model.model."

# Its RegNets are ClassyVision's: one stage is res2 ... res5 of the trunk, possibly cut into parts
# that were sharded together.
_BLOCK = r"^res\d+\.(?:block\d+-part\d+\.)?(block(\d+)-\d+)\."
_AT = r"trunk_output.block\2.\1."
_REGNET = {
    r"^conv1\.(?:stem\.)?(\d+\.)": r"stem.\1",
    _BLOCK + r"proj\.": _AT + "proj.0.",
    _BLOCK + r"bn\.": _AT + "proj.1.",
    _BLOCK + r"f\.c\.": _AT + "f.c.0.",
    _BLOCK + r"f\.final_bn\.": _AT + "f.c.1.",
    _BLOCK + r"f\.se\.excitation\.0\.": _AT + "f.se.fc1.",
    _BLOCK + r"f\.se\.excitation\.2\.": _AT + "f.se.fc2.",
    _BLOCK: _AT,
}


def unwrap(names: Iterable[str]) -> Names:
    """The trunk: a feature extractor's, a convolutional one's, a transformer's."""
    return within(
        names,
        "trunk.base_model._feature_blocks.",
        "trunk._feature_blocks.",
        "_feature_blocks.",
        f"{_MODEL}trunk.base_model.",
        f"{_MODEL}trunk.",
    )


def spell_regnet(names: Names) -> Names:
    """ClassyVision's RegNet, as VISSL cuts it into blocks, to torchvision's."""
    return renamed(names, _REGNET) if any_matches(names, _BLOCK) else {}


def spell_vit(names: Names) -> Names:
    """The two names in which VISSL's transformer differs from timm's."""
    if not {"class_token", "pos_embedding", "patch_embed.proj.weight"} <= set(names.values()):
        return {}
    return renamed(names, {"^class_token$": "cls_token", "^pos_embedding$": "pos_embed"})


WRAPPING = Wrapping(
    "VISSL", "`classy_state_dict.base_model.model.trunk.*`, `_feature_blocks.*`", unwrap
)
REGNET = Spelling("RegNet of ClassyVision", "`res2.block1-0.*`", spell_regnet)
VIT = Spelling(
    "transformer of VISSL",
    "`class_token`, `pos_embedding`, `blocks.*`",
    spell_vit,
    note="VISSL's layer norms have an epsilon of 1e-5, sslight's 1e-6: features differ by about "
    "1e-5 of their size",
)
