"""What is written beside weights, so that one file is enough to use them again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from sslight.backbones.inputs import input_of
from sslight.backbones.spec import BackboneSpec, spec_of

FORMAT = 1


@dataclass(frozen=True)
class Record:
    """The description of a saved backbone.

    Attributes:
        backbone: The call that builds it; ``None`` for a module of the user's own.
        embed_dim: Width of its output.
        sha256: :func:`weights_digest` of its weights.
        view: Fields of the evaluation view's spec, or ``None``.
        meta: Whatever the writer adds (run, step, method, ...).
        sees: What the network sees of an image (:mod:`sslight.backbones.inputs`), if not its RGB.
    """

    backbone: BackboneSpec | None
    embed_dim: int
    sha256: str
    view: dict[str, Any] | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    sees: str | None = None

    def to_json(self) -> str:
        """As text."""
        return json.dumps({"format": FORMAT, **dataclasses.asdict(self)}, indent=1)

    @classmethod
    def from_json(cls, text: str, where: str) -> Record:
        """Read what :meth:`to_json` wrote; ``where`` names the file in errors."""
        data = json.loads(text)
        if data.pop("format", None) != FORMAT:
            raise ValueError(f"{where}: written by another version of sslight; read it with that.")
        spec = data.pop("backbone")
        return cls(backbone=BackboneSpec(**spec) if spec else None, **data)


def read_record(path: Path) -> Record | None:
    """Read what stands beside the weights in a ``.safetensors`` file, if it is ours."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        text = (file.metadata() or {}).get("sslight")
    return Record.from_json(text, str(path)) if text else None


def describe(
    backbone: nn.Module, view: Any = None, meta: Mapping[str, Any] | None = None
) -> Record:
    """The record of a backbone as it stands; ``view`` is the spec of its evaluation view."""
    spec = spec_of(backbone)
    return Record(
        backbone=spec.rebuildable() if spec else None,
        embed_dim=int(backbone.embed_dim),  # type: ignore[arg-type]
        sha256=weights_digest(backbone.state_dict()),
        view=view_fields(view),
        meta=dict(meta or {}),
        sees=input_of(backbone),
    )


def method_record(method: nn.Module, view: Any = None) -> dict[str, Any]:
    """What a training checkpoint must hold for :func:`load_backbone` to read it.

    Put it under ``checkpoint["sslight"]``. It names where in the state dict the evaluated backbone
    (``main``) and the trained one (``student``) are. Plain values only (``weights_only`` loads).
    """
    modules = {"main": method.eval_backbone, "student": method.backbone}
    paths = {id(module): path for path, module in reversed(list(method.named_modules()))}
    spec = spec_of(method.eval_backbone)
    rebuild = spec.rebuildable() if spec else None
    return {
        "format": FORMAT,
        "backbone": dataclasses.asdict(rebuild) if rebuild else None,
        "embed_dim": int(method.eval_backbone.embed_dim),  # type: ignore[union-attr,arg-type]
        "view": view_fields(view),
        "sees": input_of(cast(nn.Module, method.eval_backbone)),
        "prefixes": {which: f"{paths[id(m)]}." for which, m in modules.items() if id(m) in paths},
    }


def weights_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes of all tensors: the same for any file format."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = whole(state[name])
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def whole(tensor: Tensor) -> Tensor:
    """The tensor on the CPU, contiguous, unsharded (a sharded one is gathered: all ranks call)."""
    if hasattr(tensor, "full_tensor"):
        tensor = tensor.full_tensor()
    return tensor.detach().cpu().contiguous()


def view_fields(view: Any) -> dict[str, Any] | None:
    """A view spec as plain values; passes what is plain already."""
    if view is None or isinstance(view, dict):
        return view
    fields: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(view)))
    return fields


def view_of(fields: Mapping[str, Any] | None) -> Any:
    """The view spec that :func:`view_fields` took apart, or ``None``."""
    if fields is None:
        return None
    from sslight.augment.spec import ViewSpec

    return ViewSpec(**fields)
