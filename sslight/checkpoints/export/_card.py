"""The model card: what the weights are, how they are loaded, where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sslight.backbones.inputs import image_channels
from sslight.backbones.spec import spec_of
from sslight.checkpoints.export._check import Check
from sslight.checkpoints.export.base import Format
from sslight.checkpoints.loaded import LoadedBackbone


@dataclass(frozen=True)
class Provenance:
    """What is known of how weights came to be.

    Attributes:
        method: Name of the method, such as ``simclr``.
        about: What it is, in a sentence.
        data: The training data's part of the config, as YAML.
        recipe: The whole config, as YAML.
        evals: Contents of the run's ``eval/*.json``.
    """

    method: str = ""
    about: str = ""
    data: str = ""
    recipe: str = ""
    evals: list[dict[str, Any]] = field(default_factory=list)


def card(
    loaded: LoadedBackbone,
    layout: Format,
    check: Check,
    sha256: str,
    provenance: Provenance | None = None,
) -> str:
    """The README of an export, in Markdown with Hugging Face's header."""
    known = provenance or Provenance()
    parts = [
        _header(layout.reader(loaded).library, known),
        f"# {_title(loaded, known)}\n",
        _facts(loaded, sha256),
        "## Load it\n",
        _code("python", layout.usage(loaded)),
        f"{check}\n",
        "## Images\n",
        _images(loaded),
        *_origin(loaded, known),
        *_evaluations(known),
    ]
    return "\n".join(parts)


def _header(library: str, known: Provenance) -> str:
    tags = ["sslight", "self-supervised-learning", *([known.method] if known.method else [])]
    lines = [f"library_name: {library}", "pipeline_tag: image-feature-extraction", "tags:"]
    return "\n".join(["---", *lines, *(f"- {tag}" for tag in tags), "---", ""])


def _title(loaded: LoadedBackbone, known: Provenance) -> str:
    spec = spec_of(loaded.backbone)
    name = spec.name if spec else type(loaded.backbone).__name__
    return f"{name}, trained by {known.method}" if known.method else name


def _facts(loaded: LoadedBackbone, sha256: str) -> str:
    spec = spec_of(loaded.backbone)
    count = sum(p.numel() for p in loaded.backbone.parameters())
    arguments = ", ".join(f"{k}={v!r}" for k, v in (spec.kwargs if spec else {}).items())
    rows = {
        "network": f"`{spec.name}`" if spec else type(loaded.backbone).__name__,
        "arguments": f"`{arguments}`" if arguments else "",
        "parameters": f"{count:,}",
        "embedding": f"{loaded.embed_dim} numbers per image",
        "weights (sha256)": f"`{sha256}`",
        "step": str(loaded.meta.get("step") or ""),
        "which weights": str(loaded.meta.get("weights") or ""),
    }
    return _table(["", ""], [[name, text] for name, text in rows.items() if text])


def _images(loaded: LoadedBackbone) -> str:
    view = loaded.view
    scale = (
        f"normalised by mean {list(view.mean)} and deviation {list(view.std)}"
        if view.mean is not None and view.std is not None
        else "left in [0, 1]"
    )
    crop = f"the shorter side resized to {view.resized} ({view.interpolation}), the middle cut out"
    return (
        f"Batches `[B, {image_channels(loaded.backbone)}, {view.size}, {view.size}]`: "
        f"{crop if view.crop == 'center' else 'images of that size'}, {scale}. `transform.py` "
        "does it with torchvision, `transform.json` has the numbers.\n"
    )


def _origin(loaded: LoadedBackbone, known: Provenance) -> list[str]:
    parts = ["## Method and data\n"]
    parts.append(f"{known.about}\n" if known.about else "The method is not recorded.\n")
    parts.append(_code("yaml", known.data) if known.data else "The data are not recorded.\n")
    if known.recipe:
        parts += ["## Recipe\n", "Trained by `sslight fit` with this config:\n"]
        parts.append(_code("yaml", known.recipe))
    return parts


def _evaluations(known: Provenance) -> list[str]:
    rows = [
        [result.get("protocol", ""), name, _number(value), str(result.get("n", ""))]
        for result in known.evals
        for name, value in _metrics(result).items()
    ]
    if not rows:
        return ["## Evaluation\n", "None is recorded. `sslight eval` makes some.\n"]
    return ["## Evaluation\n", _table(["protocol", "figure", "value", "images"], rows)]


def _metrics(result: Mapping[str, Any]) -> Mapping[str, Any]:
    metrics = result.get("metrics")
    return metrics if isinstance(metrics, Mapping) else {}


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows), ""])


def _code(language: str, text: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```\n"
