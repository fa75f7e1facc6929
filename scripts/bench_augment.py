"""Views of images against lightly's transforms: same images, same operations, one core.

python scripts/bench_augment.py                  # all rows
python scripts/bench_augment.py "32 px"          # some
"""

from __future__ import annotations

import io
import itertools
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from _bench import Bench, arguments, at_least
from PIL import Image

from sslight import views
from sslight.augment.presets import simclr, swav
from sslight.augment.views import Views, make_views
from sslight.data.decode import decode, decode_reduced

warnings.filterwarnings("ignore")
LIGHTLY = "lightly"


def main() -> None:
    """Measure all rows."""
    args = arguments(__doc__, images=256)
    bench = Bench("augmentation", args)
    small_images(bench)
    photos(bench)
    drafts(bench)


def small_images(bench: Bench) -> None:
    """Two views at 32 px, from images in memory."""
    from lightly.transforms import SimCLRTransform

    count = bench.args.images
    files = sorted((bench.args.data / "cifar10" / "train").rglob("*.jpg"))[:: 5000 // count]
    pil = [Image.open(file).convert("RGB") for file in files[:count]]
    tensors = [torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous() for image in pil]
    for name, blur in (("", 0.0), (" with blur", 0.5)):
        ours = views(simclr(32, blur=blur))
        # lightly's blur is off at 32 px in its own CIFAR recipe; at 0 it is skipped there too.
        theirs = SimCLRTransform(input_size=32, gaussian_blur=blur)
        bench.compare(
            f"two SimCLR views at 32 px{name}, images in memory",
            numbered(ours, tensors),
            lambda theirs=theirs: torch.stack([v for image in pil for v in theirs(image)]),
            against=f"{LIGHTLY} SimCLRTransform",
            reach=at_least(6.0),
            per=len(pil),
        )


def photos(bench: Bench) -> None:
    """Views at 224 px, from JPEG files' bytes."""
    from lightly.transforms import SimCLRTransform, SwaVTransform

    data = [file.read_bytes() for file in sorted((bench.args.data / "photos").glob("*.JPEG"))]
    data = data[: min(64, bench.args.images)]
    two, many = views(simclr(224)), views(swav())
    simclr_peer, swav_peer = SimCLRTransform(), SwaVTransform()
    of_peer = {
        peer: lambda peer=peer: torch.stack([peer(opened(d))[0] for d in data])
        for peer in (simclr_peer, swav_peer)
    }
    bench.compare(
        "decode alone",
        lambda: [decode(d) for d in data],
        lambda: [opened(d) for d in data],
        against="Pillow",
        per=len(data),
    )
    bench.compare(
        "two SimCLR views at 224 px from JPEG",
        numbered(two, data, decode),
        of_peer[simclr_peer],
        against=f"{LIGHTLY} SimCLRTransform",
        reach=at_least(1.5),
        per=len(data),
        note="aim 2.5x; decoding included on both sides",
    )
    bench.compare(
        "two SimCLR views at 224 px, decoded, colors: linear",
        numbered(make_views(simclr(224), colors="linear"), [decode(d) for d in data]),
        numbered(two, [decode(d) for d in data]),
        against="sslight's own, exact",
        per=len(data),
        note=difference(data),
    )
    bench.compare(
        "the worker's share of it (decode and crops)",
        lambda: two.fetch([decode(d) for d in data], 0, torch.arange(len(data))),
        of_peer[simclr_peer],
        against=f"{LIGHTLY} SimCLRTransform, which does all in the worker",
        reach=at_least(3.5),
        per=len(data),
    )
    bench.compare(
        "multi-crop 2 x 224 + 6 x 96 from JPEG",
        numbered(many, data, decode),
        of_peer[swav_peer],
        against=f"{LIGHTLY} SwaVTransform",
        reach=at_least(2.0),
        per=len(data),
    )


def difference(data: list[bytes]) -> str:
    """How far values of the linear colours are from the exact ones, in units of 255."""
    specs = [replace(spec, mean=None, std=None) for spec in simclr(224)]
    images, index = [decode(d) for d in data], torch.arange(len(data))
    exact, linear = (
        torch.stack(maker.apply(maker.fetch(images, 0, index))["views"])
        for maker in (make_views(specs, colors=colors) for colors in ("exact", "linear"))
    )
    far = (exact - linear).abs().mul(255).flatten()
    high = far.kthvalue(int(0.99 * len(far))).values
    return f"values differ by {far.mean():.1f} of 255 on average, {high:.0f} at the 99th percentile"


def drafts(bench: Bench) -> None:
    """Decode at the size that the views need, from large photos and from small ones."""
    from lightly.transforms import SimCLRTransform

    files = sorted((bench.args.data / "photos").glob("*.JPEG"))
    small = [file.read_bytes() for file in files[: min(64, bench.args.images)]]
    large = [enlarged(data) for data in small[:8]]
    two, peer = views(simclr(224)), SimCLRTransform()
    for how in ("exact", "draft"):
        bench.compare(
            f"the worker's share from 12 megapixels, {how}",
            drawn(two, large, how),
            lambda: [peer(opened(d)) for d in large],
            against=f"{LIGHTLY} SimCLRTransform",
            per=len(large),
        )
    for what, data in (("12 megapixels", large), ("photos as they are", small)):
        bench.compare(
            f"the worker's share from {what}, draft against exact",
            drawn(two, data, "draft"),
            drawn(two, data, "exact"),
            against="sslight's own",
            reach=at_least(0.9),  # nothing to win from small photos, and little to lose
            per=len(data),
        )


def enlarged(data: bytes) -> bytes:
    """A JPEG as a phone's camera writes it, of the picture in a small one."""
    file = io.BytesIO()
    opened(data).resize((4032, 3024), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()


def drawn(maker: Views, data: list[bytes], how: str) -> Callable[[], object]:
    """Decode and cut all views of a batch, the same ones at each call."""

    def work() -> object:
        images = [
            decode(d) if how == "exact" else decode_reduced(d, "", partial(maker.reduction, 0, i))
            for i, d in enumerate(data)
        ]
        return maker.fetch(images, 0, torch.arange(len(images)))

    return work


def numbered(maker: object, items: list, load: Callable = lambda item: item) -> Callable[[], None]:
    """Make all views of a batch, another epoch's at each call."""
    epochs = itertools.count()
    index = torch.arange(len(items))

    def work() -> None:
        maker.apply(maker.fetch([load(item) for item in items], next(epochs), index))

    return work


def opened(data: bytes) -> Image.Image:
    """Decode as torchvision's datasets do."""
    return Image.open(io.BytesIO(data)).convert("RGB")


if __name__ == "__main__":
    main()
