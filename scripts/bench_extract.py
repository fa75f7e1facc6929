"""Feature extraction against a bare loop over a DataLoader in inference mode, channels last.

python scripts/bench_extract.py --images 64
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from _bench import Bench, arguments, at_least
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms

from sslight import SSLDataModule, ViewSpec, backbone
from sslight.augment.spec import IMAGENET_MEAN, IMAGENET_STD
from sslight.data.sources.folder import Folder
from sslight.features.extract import ExtractOptions, extract_features

BATCH = 32


def main() -> None:
    """Measure both rows."""
    args = arguments(__doc__, images=128)
    bench = Bench("extraction", args)
    for name, size, folder in (
        ("resnet18", 32, args.data / "cifar10" / "test"),
        ("resnet50", 224, args.data / "photos"),
    ):
        row(bench, name, size, folder)


def row(bench: Bench, name: str, size: int, folder: Path) -> None:
    """Extract the same images on both sides."""
    what, count = f"{name} at {size} px", bench.args.images // (1 if size < 64 else 20)
    if not bench.wants(what):
        return
    network = backbone(name).eval()
    with TemporaryDirectory() as scratch:
        os.environ["SSLIGHT_CACHE"] = f"{scratch}/cache"
        images = Path(scratch) / "images" / "class"
        images.mkdir(parents=True)
        files = sorted([*folder.rglob("*.jpg"), *folder.rglob("*.JPEG")])[:count]
        for i, file in enumerate(files):
            (images / f"{i:06d}{file.suffix}").symlink_to(file.resolve())
        data = SSLDataModule(
            train=Folder(images.parent),
            eval_view=ViewSpec(size=size, crop="center"),
            views="simclr",
            workers=0,
        )
        options, stores = ExtractOptions(batch_size=BATCH), iter(range(1 << 30))
        bench.compare(
            what,
            lambda: extract_features(network, data, options, f"{scratch}/store{next(stores)}"),
            lambda: bare(network, images.parent, size),
            against="inference_mode loop over ImageFolder, channels last",
            reach=at_least(1.0),
            per=len(files),
            note=f"{len(files)} images from JPEG; the store is written, too",
        )


def bare(network: torch.nn.Module, root: Path, size: int) -> torch.Tensor:
    """Do it as a script would."""
    resized = size if size <= 64 else round(size * 8 / 7)
    steps = [transforms.Resize(resized), transforms.CenterCrop(size), transforms.ToTensor()]
    steps.append(transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD))
    dataset = datasets.ImageFolder(root, transforms.Compose(steps))
    rows = Subset(dataset, range(len(dataset)))
    last = network.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        loader = DataLoader(rows, BATCH)
        return torch.cat([last(x.to(memory_format=torch.channels_last)) for x, _ in loader])


if __name__ == "__main__":
    main()
