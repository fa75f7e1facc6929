"""What the torchvision families share: input channels, removed classifier, weights, drop path."""

from __future__ import annotations

import math
import urllib.error
from typing import Any

import torch
from torch import nn

from sslight.backbones.spec import did_you_mean


def set_in_channels(model: nn.Module, in_channels: int) -> None:
    """Replace the first convolution by one with ``in_channels`` inputs, same output variance."""
    for path, old in model.named_modules():
        if not isinstance(old, nn.Conv2d):
            continue
        if old.in_channels != in_channels:
            parent, _, leaf = path.rpartition(".")
            setattr(model.get_submodule(parent), leaf, _resized(old, in_channels))
        return


def _resized(old: nn.Conv2d, in_channels: int) -> nn.Conv2d:
    new = nn.Conv2d(
        in_channels,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]
        old.stride,  # type: ignore[arg-type]
        old.padding,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
    with torch.no_grad():
        std = float(old.weight.std()) * math.sqrt(old.in_channels / in_channels)
        new.weight.normal_(0.0, std)
        if old.bias is not None and new.bias is not None:
            new.bias.copy_(old.bias)
    return new


def remove_classifier(model: nn.Module) -> int:
    """Replace the last layer of the classifier by the identity; return the width it read.

    Layers of the head before the last one stay (VGG's first two linears, ConvNeXt's norm), a
    dropout directly before it goes: it only belonged to the classifier.
    """
    path = classifier_path(model)
    last = model.get_submodule(path)
    parent, _, leaf = path.rpartition(".")
    _drop_dropout_before(model.get_submodule(parent), leaf)
    setattr(model.get_submodule(parent), leaf, nn.Identity())
    width = last.in_features if isinstance(last, nn.Linear) else last.in_channels
    return int(width)  # type: ignore[arg-type]


def classifier_path(model: nn.Module) -> str:
    """Where a torchvision network has the last layer of its classifier, such as ``fc``."""
    head = next(name for name in ("fc", "classifier", "head", "heads") if hasattr(model, name))
    layers = model.get_submodule(head).named_modules(prefix=head)
    found = [path for path, layer in layers if isinstance(layer, nn.Linear | nn.Conv2d)]
    return str(found[-1])


def _drop_dropout_before(parent: nn.Module, leaf: str) -> None:
    names = [name for name, _ in parent.named_children()]
    before = names[: names.index(leaf)]
    if before and isinstance(getattr(parent, before[-1]), nn.Dropout):
        setattr(parent, before[-1], nn.Identity())


def set_drop_path(model: nn.Module, rate: float) -> None:
    """Give every stochastic-depth layer its rate: linear from 0 at the first block to ``rate``."""
    from torchvision.ops import StochasticDepth

    layers = [m for m in model.modules() if isinstance(m, StochasticDepth)]
    for i, layer in enumerate(layers):
        layer.p = rate * i / max(len(layers) - 1, 1)


def torchvision_weights(arch: str, weights: str) -> dict[str, Any]:
    """The state dict of torchvision's pretrained ``weights`` (a member of its enum, or DEFAULT).

    Raises:
        ValueError: torchvision has no weights of that name for ``arch``.
        ConnectionError: they are not in torch's cache and cannot be downloaded.
    """
    from torchvision.models import get_model_weights, list_models

    known = list(get_model_weights(arch).__members__) if arch in list_models() else []
    if weights not in [*known, "DEFAULT"] or not known:
        raise ValueError(
            f"backbone {arch!r}: no pretrained weights {weights!r}.{did_you_mean(weights, known)} "
            f"torchvision has: {', '.join(known) or 'none'}."
        )
    entry = get_model_weights(arch)[weights]
    try:
        return dict(entry.get_state_dict(progress=False, check_hash=True))
    except (urllib.error.URLError, OSError) as error:
        raise ConnectionError(
            f"backbone {arch!r}: weights {weights!r} could not be downloaded from {entry.url} "
            f"({error}). Without a network, fetch that file elsewhere and give its path as `init`."
        ) from error


def load_torchvision_weights(model: nn.Module, arch: str, weights: str | None) -> None:
    """Load torchvision's weights into a model without its classifier; nothing else may differ."""
    if weights is None:
        return
    state = torchvision_weights(arch, weights)
    own = model.state_dict()
    different = [k for k, v in own.items() if k not in state or state[k].shape != v.shape]
    if different:
        raise ValueError(
            f"backbone {arch!r}: weights {weights!r} do not fit this form of it "
            f"({len(different)} tensors differ, first: {different[0]}). They were trained with "
            "in_channels=3 and torchvision's own stem, width and sizes."
        )
    model.load_state_dict({k: state[k] for k in own})


def finish(model: nn.Module, embed_dim: int, checkpoint_blocks: int) -> nn.Module:
    """Name the width and, where asked, recompute the last blocks' activations in the backward."""
    model.embed_dim = embed_dim  # type: ignore[assignment]
    if checkpoint_blocks:
        from sslight.modules.checkpointing import checkpoint_blocks as wrap

        wrap(model, checkpoint_blocks)
    return model
