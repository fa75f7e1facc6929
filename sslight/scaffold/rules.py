"""Rules of thumb: what to change in a published recipe for other data, and who says so.

Pure functions of what was seen (:class:`Seen`); each returns a :class:`Choice` with its reason and
its source. The number of classes is taken as unknown: nothing here looks at labels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sslight.scaffold.recipes import SMALL, Recipe

#: View presets that mean the same at another size.
_RESIZED = ("simclr", "byol", "moco", "ressl", "supervised", "swav", "dino")
_MULTICROP = ("swav", "dino")
#: Keys of views that repeat a benchmark: the data's statistics, and a slower way to resize.
_BENCHMARKS = ("mean", "std", "interpolation")
_SIZES = (32, 64, 96, 128, 160, 224)
#: Images from which on a large network, a low temperature and the full crop range pay.
_MANY = 50_000
#: Images seen in a whole training: published ones on a GPU; on a CPU what a night allows.
_SEEN_GPU, _SEEN_CPU = 20_000_000, 1_000_000


@dataclass(frozen=True)
class Seen:
    """What the rules depend on.

    Attributes:
        images: Images to train on.
        side: Median of their shorter side in pixels.
        gpu: Whether there is a GPU.
    """

    images: int
    side: int
    gpu: bool


@dataclass(frozen=True)
class Choice:
    """One value of the config.

    Attributes:
        key: Full key.
        value: What is written.
        why: The reason, short enough for a comment behind the key.
        source: Where the rule comes from.
    """

    key: str
    value: Any
    why: str
    source: str


def view_size(seen: Seen, recipe: Recipe) -> int:
    """Return the side of the views: no larger than the images, and small without a GPU."""
    views = recipe.views or {}
    if not is_resized(recipe):
        return int(views.get("size", 224))
    allowed = [size for size in _SIZES if size <= max(1.25 * seen.side, _SIZES[0])]
    return max(size for size in allowed if seen.gpu or size <= 96)


def is_resized(recipe: Recipe) -> bool:
    """Whether the recipe's views may be of another size; masks and tiles belong to one size."""
    views = recipe.views
    return views is not None and views.get("name") in _RESIZED and not recipe.needs_tokens


def views(seen: Seen, recipe: Recipe) -> Choice | None:
    """Choose size and crops of the views."""
    if not is_resized(recipe) or recipe.views is None:
        return None
    size = view_size(seen, recipe)
    node = {k: v for k, v in recipe.views.items() if k not in _BENCHMARKS} | {"size": size}
    why = f"images are {seen.side} px"
    why += "; no larger without a GPU" if not seen.gpu and seen.side > 96 else ""
    source = "no larger than the images, since enlarging adds no detail"
    if node["name"] in _MULTICROP:
        if node.get("local_count", 1):
            node["local_size"] = max(round(size * 3 / 7 / 8) * 8, 16)
            source += "; small crops of 3/7, as SwAV and DINO have (96 of 224)"
    elif seen.images < _MANY:
        node["scale"] = [0.2, 1.0]
        why += "; crops from 0.2 of the area on"
        source += (
            ". Crops from 0.2 of the area on: MoCo v2 (arXiv:2003.04297) and SimSiam "
            "(arXiv:2011.10566); from 0.08 on is SimCLR's, for ImageNet, and harder"
        )
    return Choice("data.views", node, why, source)


def backbone(seen: Seen, recipe: Recipe) -> Choice | None:
    """Choose the network: a size that the data can fill and the machine can train."""
    own = dict(recipe.tree["backbone"])
    name = str(own["name"])
    if name.startswith("vit") and not seen.gpu and not name.startswith("vit_t"):
        node = {**own, "name": "vit_t_16", "image_size": view_size(seen, recipe)}
        node["patch_size"] = int(own.get("patch_size", name.rpartition("_")[2]))
        return Choice("backbone", node, "the smallest; no GPU here", _BACKBONE_SOURCE)
    if not name.startswith("resnet") and (seen.gpu or recipe.needs_tokens):
        return None
    large = seen.gpu and seen.images >= _MANY and seen.side > SMALL
    node = {"name": "resnet50" if large else "resnet18"}
    if view_size(seen, recipe) <= SMALL:
        node["stem"] = "small" if seen.gpu else "stride2"
    why = "50,000 images or more, and a GPU" if large else "resnet50 from 50,000 images on, by GPU"
    return Choice("backbone", node, why, _BACKBONE_SOURCE)


_BACKBONE_SOURCE = (
    "larger networks gain more from more data and longer training (SimCLR, arXiv:2002.05709, "
    "fig. 7). A 3x3 stem without pooling for small images: SimCLR's CIFAR-10 setting (B.9)"
)


def batch_size(seen: Seen, recipe: Recipe) -> Choice:
    """Choose images per step: 256 by GPU, 64 by CPU, and eight steps or more an epoch."""
    wanted = 256 if seen.gpu else 64
    value = max(min(wanted, _power_of_two(seen.images // 8)), 4)
    source = (
        "256 is enough when training is long (SimCLR, arXiv:2002.05709, fig. 9; SimSiam, "
        "arXiv:2011.10566, table 2); eight steps or more an epoch, so that epochs shuffle"
    )
    return Choice("data.batch_size", value, "images per optimizer step", source)


def epochs(seen: Seen, recipe: Recipe) -> Choice:
    """Choose the length: so many images seen in all, within the range that is published."""
    budget, least, most = (_SEEN_GPU, 100, 800) if seen.gpu else (_SEEN_CPU, 10, 200)
    value = min(max(round(budget / seen.images), least), most)
    source = (
        f"about {budget / 1e6:g} million images in all, {least} to {most} epochs. Published: "
        "CIFAR-10 200 to 1000 epochs, 10 to 50 million images (solo-learn, lightly); ImageNet 100 "
        "to 1000 epochs. Longer is better, most of all for small batches (SimCLR, fig. 9)"
    )
    why = "longer is better" + ("" if seen.gpu else "; this is for a CPU")
    return Choice("trainer.max_epochs", value, why, source)


def warmup(seen: Seen, recipe: Recipe) -> Choice | None:
    """Shorten the warmup of a short training."""
    given = (recipe.tree.get("optim") or {}).get("warmup_epochs")
    tenth = max(epochs(seen, recipe).value // 10, 1)
    if not isinstance(given, int | float) or given <= tenth:
        return None
    source = f"the recipe's {given:g} epochs are for its longer training; a tenth is usual"
    return Choice("optim.warmup_epochs", tenth, "a tenth of the training", source)


def shorter_schedules(seen: Seen, recipe: Recipe) -> Iterator[Choice]:
    """Shorten what a recipe does to the method in its first so many epochs."""
    whole = epochs(seen, recipe).value
    for key, node in recipe.method.items():
        given = node.get("epochs") if isinstance(node, dict) else None
        if isinstance(given, int | float) and given > whole / 4:
            value = {**node, "epochs": max(whole // 10, 1)}
            source = f"the recipe's {given:g} epochs are for its longer training; a tenth here"
            yield Choice(f"method.{key}", value, "a tenth of the training", source)


def rate(seen: Seen, recipe: Recipe) -> Choice | None:
    """Say which learning rate follows from the recipe; nothing is written."""
    optim = recipe.tree.get("optim") or {}
    lr, scale = optim.get("lr"), optim.get("scale_lr")
    batch = batch_size(seen, recipe).value
    if not isinstance(lr, int | float) or scale not in ("linear", "sqrt"):
        return None
    share = batch / int(optim.get("base_batch_size", 256))
    value = lr * (share if scale == "linear" else math.sqrt(share))
    how = "batch" if scale == "linear" else "the root of the batch"
    source = f"the recipe's {lr:g}, times {how} (Goyal et al., 2017, arXiv:1706.02677)"
    return Choice("optim.lr", float(f"{value:.3g}"), "follows from the batch", source)


def temperature(seen: Seen, recipe: Recipe) -> Choice | None:
    """Raise a low temperature where a batch is likely to hold look-alikes."""
    own = recipe.default("temperature") if "temperature" in recipe.takes else None
    contrasts = recipe.method["name"] in ("simclr", "dcl", "moco_v2", "nnclr")
    if not contrasts or not isinstance(own, int | float) or own >= 0.2 or seen.images >= _MANY:
        return None
    source = (
        "a low temperature pushes the most similar images apart hardest (Wang & Liu, 2021, "
        "arXiv:2012.09740); among few images of unknown classes many of those are of one kind. "
        "0.1 is best for ImageNet, 0.2 to 0.5 for CIFAR-10 (SimCLR, table 5 and B.9; solo-learn)"
    )
    return Choice("method.temperature", 0.2, "milder on look-alikes than 0.1", source)


def momentum(seen: Seen, recipe: Recipe) -> Choice | None:
    """Let a teacher follow faster in a short training."""
    if "momentum" not in recipe.takes:
        return None
    own = recipe.default("momentum")
    start = _start_of(own)
    steps = seen.images // batch_size(seen, recipe).value * epochs(seen, recipe).value
    if start is None or start <= 0.99 or steps >= 50_000:
        return None
    rising = not isinstance(own, int | float)
    value = {"name": "cosine", "start": 0.99, "end": 1.0} if rising else 0.99
    source = (
        f"{steps:,} steps in all: at 0.99 the teacher is an average over 100 of them, at "
        f"{start:g} over {1 / (1 - start):,.0f}. BYOL lowers it for short trainings (arXiv:"
        "2006.07733, appendix), lightly and solo-learn use 0.99 on CIFAR-10; how it goes with the "
        "batch: Busbridge et al., 2023, arXiv:2307.13813"
    )
    return Choice("method.momentum", value, "a teacher that follows faster", source)


def counted_things(seen: Seen, recipe: Recipe) -> Iterator[Choice]:
    """Keep queues and clusters well below the number of images."""
    batch = batch_size(seen, recipe).value
    if "queue_size" in recipe.takes:
        own = recipe.default("queue_size")
        value = max(_power_of_two(seen.images // 4), batch)
        if isinstance(own, int) and own > value:
            source = (
                "at most a quarter of the images: a longer queue holds the image's own older "
                "views, and pushes it away from itself. MoCo has 65,536 for 1.28 million"
            )
            yield Choice("method.queue_size", value, "a quarter of the images or less", source)
    for key in ("num_prototypes", "num_clusters"):
        if key not in recipe.takes:
            continue
        own, value = recipe.default(key), max(seen.images // 10, 4)
        if isinstance(own, int) and own > value:
            source = (
                "ten images or more of each on average; SwAV and DeepCluster-v2 have 3,000 for "
                "1.28 million, and more than there are classes does no harm (arXiv:2006.09882)"
            )
            yield Choice(f"method.{key}", value, "ten images or more of each", source)


def precision(seen: Seen, recipe: Recipe) -> Choice | None:
    """Choose 32 bits where there is no GPU; else what the recipe says."""
    own = (recipe.tree.get("trainer") or {}).get("precision")
    if seen.gpu or own in (None, "32-true"):
        return None
    source = "16 bits are for GPUs; most CPUs convert back and forth"
    return Choice("trainer.precision", "32-true", "no GPU here", source)


def choose(seen: Seen, recipe: Recipe) -> list[Choice]:
    """Return everything that the rules say, in the order of the config."""
    found = [
        temperature(seen, recipe),
        momentum(seen, recipe),
        *shorter_schedules(seen, recipe),
        *counted_things(seen, recipe),
        backbone(seen, recipe),
        views(seen, recipe),
        batch_size(seen, recipe),
        rate(seen, recipe),
        warmup(seen, recipe),
        epochs(seen, recipe),
        precision(seen, recipe),
    ]
    return [choice for choice in found if choice is not None]


def _power_of_two(number: int) -> int:
    return 1 << max(number.bit_length() - 1, 0)


def _start_of(value: Any) -> float | None:
    """Return where a momentum begins: a number, a node of a config, or a schedule."""
    found = value.get("start") if isinstance(value, dict) else getattr(value, "start", value)
    return float(found) if isinstance(found, int | float) else None
