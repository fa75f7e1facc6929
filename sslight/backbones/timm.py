"""Any model of timm (the extra ``timm``) as a backbone: ``timm/vit_small_patch16_224``."""

from __future__ import annotations

from typing import Any

from torch import nn

from sslight.backbones.common import finish
from sslight.backbones.protocol import embedding_width
from sslight.backbones.spec import check_extra, did_you_mean
from sslight.backbones.timm_tokens import add_tokens, has_tokens


def timm_backbone(
    arch: str,
    *,
    image_size: int | None = None,
    in_channels: int = 3,
    drop_path: float | None = None,
    global_pool: str | None = None,
    mask_token: bool = False,
    pretrained: bool = False,
    checkpoint_blocks: int = 0,
    extra: dict[str, Any] | None = None,
) -> nn.Module:
    """A timm model without its classifier (``num_classes=0``).

    Args:
        arch: ``timm/<model>``, any name of ``timm.list_models()``.
        image_size: Side of the images, for models whose weights depend on it.
        in_channels: Channels of the images.
        drop_path: Stochastic-depth rate; default the model's.
        global_pool: timm's pooling (``avg``, ``token``, ...); default the model's.
        mask_token: Add the learnt token that ``tokens(images, mask)`` puts in masked places.
        pretrained: Download timm's weights (``init`` loads a file instead).
        checkpoint_blocks: Recompute the activations of this many blocks (0 = keep all).
        extra: Further arguments of the model's class.
    """
    timm = import_timm()
    name = arch.removeprefix("timm/")
    _check_name(timm, name)
    options = {
        "img_size": image_size,
        "drop_path_rate": drop_path,
        "global_pool": global_pool,
    }
    given = {k: v for k, v in options.items() if v is not None} | (extra or {})
    try:
        model = timm.create_model(
            name, pretrained=pretrained, num_classes=0, in_chans=in_channels, **given
        )
    except TypeError as error:  # timm passes unknown arguments on to the class
        raise TypeError(f"backbone {arch!r}: {error}. Given: {given}.") from error
    if extra:
        check_extra(f"backbone {arch!r}", type(model).__init__, extra)
    size = image_size or int(model.pretrained_cfg["input_size"][-1])
    width = embedding_width(model, in_channels=in_channels, size=size)
    if has_tokens(model):
        add_tokens(model, mask_token)
    elif mask_token:
        raise ValueError(f"backbone {arch!r} has no patch tokens: mask_token=True is no use.")
    if getattr(model, "output_fmt", "NCHW") == "NHWC":
        model.nhwc_layers = ("layers", "norm")
    return finish(model, width, checkpoint_blocks)


def import_timm() -> Any:
    """timm, or an error that says how to install it."""
    try:
        import timm
    except ImportError as error:
        raise ImportError(
            'timm/<model> backbones need timm. Install it with: pip install "sslight[timm]"'
        ) from error
    return timm


def _check_name(timm: Any, name: str) -> None:
    if not timm.is_model(name):
        raise ValueError(
            f"timm has no model {name!r}.{did_you_mean(name, timm.list_models())} "
            "`python -c 'import timm; print(timm.list_models())'` prints all of them."
        )
