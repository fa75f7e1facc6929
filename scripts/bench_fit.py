"""A SimCLR fit on CIFAR-10 images against the same run written with lightly and Lightning.

Same images, network, batch, optimizer, length and view operations; kNN on the test images at the
end of both. Wall time needs a machine of its own; the default is a short run.

    python scripts/bench_fit.py --limit 5000 --epochs 20 --seeds 3
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytorch_lightning as pl
import torch
from _bench import Bench, arguments, at_least, at_most
from torch.utils.data import DataLoader, Subset
from torchvision.datasets import ImageFolder

import sslight
from sslight import SSLDataModule, backbone, config
from sslight.augment.presets import simclr
from sslight.data.sources.folder import Folder
from sslight.eval.votes import count_right
from sslight.features.compute import dataset_features

LR, BATCH, K = 0.06, 128, 20


class Peer(pl.LightningModule):
    """SimCLR as lightly's examples write it."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        from lightly.loss import NTXentLoss
        from lightly.models.modules import SimCLRProjectionHead

        self.backbone = backbone("resnet18", stem="small")
        self.head = SimCLRProjectionHead(512, 512, 128, batch_norm=False)
        self.criterion = NTXentLoss(temperature=0.2)
        self.epochs = epochs

    def training_step(self, batch: list, batch_idx: int) -> torch.Tensor:
        """Compute the loss of two views."""
        a, b = (self.head(self.backbone(view)) for view in batch[0])
        return self.criterion(a, b)

    def configure_optimizers(self) -> object:
        """SGD with a cosine."""
        optimizer = torch.optim.SGD(self.parameters(), LR, momentum=0.9, weight_decay=5e-4)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.epochs)
        return [optimizer], [schedule]


def main() -> None:
    """Fit both, a seed after the other."""
    args = arguments(__doc__, limit=512, epochs=1, seeds=1)
    bench = Bench("fit", args)
    ratios, gains = [], []
    for seed in range(args.seeds):
        (ours, mine), (theirs, other) = ours_fit(args, seed), peer_fit(args, seed)
        ratios.append(ours / theirs)
        gains.append(100 * (mine - other))
        print(f"seed {seed}: {ours:.1f} s against {theirs:.1f}; kNN {mine:.3f} against {other:.3f}")
    what = f"SimCLR, ResNet-18, {args.limit} CIFAR-10 images, {args.epochs} epochs"
    bench.keep(f"{what}: wall time", ratios, at_most(0.9), "lightly + Lightning")
    bench.keep(f"{what}: kNN", gains, at_least(0.0, "points"), "lightly + Lightning")


def data_of(args: object, seed: int = 0) -> SSLDataModule:
    """Return the images of both sides."""
    root = args.data / "cifar10"  # type: ignore[attr-defined]
    return SSLDataModule(
        Folder(root / "train"),
        Folder(root / "test"),
        views=simclr(32),
        batch_size=BATCH,
        limit=args.limit,  # type: ignore[attr-defined]
        test_limit=args.limit,  # type: ignore[attr-defined]
        workers=1,
        seed=seed,
    )


def ours_fit(args: object, seed: int) -> tuple[float, float]:
    """Train by a config's walk; return seconds and kNN accuracy."""
    data = data_of(args, seed)
    node = {
        **config.load("_base_/pretrain"),
        "seed": seed,
        "method": {"name": "simclr", "hidden_dim": 512, "bn": False, "temperature": 0.2},
        "backbone": {"name": "resnet18", "stem": "small"},
        "optim": {"optimizer": "sgd", "lr": LR, "weight_decay": 5e-4, "momentum": 0.9},
        "trainer": {"log_every_n_steps": 10, "max_epochs": args.epochs, "accelerator": "cpu"},  # type: ignore[attr-defined]
    }
    with TemporaryDirectory() as folder:
        start = time.perf_counter()
        fitted = sslight.fit({**node, "run_dir": str(Path(folder) / "run")}, data=data)
        return time.perf_counter() - start, knn(fitted.method.eval_backbone, data_of(args))


def peer_fit(args: object, seed: int) -> tuple[float, float]:
    """Train the peer on the same images."""
    from lightly.transforms import SimCLRTransform

    data = data_of(args)
    kept = {str(i) for i in data.ids("train")}
    root = args.data / "cifar10" / "train"  # type: ignore[attr-defined]
    images = ImageFolder(root, SimCLRTransform(input_size=32, gaussian_blur=0.0))
    rows = [i for i, (p, _) in enumerate(images.samples) if str(Path(p).relative_to(root)) in kept]
    torch.manual_seed(seed)
    method = Peer(args.epochs)  # type: ignore[attr-defined]
    options = {"batch_size": BATCH, "shuffle": True, "drop_last": True, "num_workers": 1}
    loader = DataLoader(Subset(images, rows), **options)
    start = time.perf_counter()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    pl.Trainer(max_epochs=args.epochs, accelerator="cpu", **quiet).fit(method, loader)
    return time.perf_counter() - start, knn(method.backbone, data)


def knn(network: torch.nn.Module, data: SSLDataModule) -> float:
    """Classify the test images by their neighbours."""
    bank, queries = (dataset_features(network, data, split) for split in ("train", "test"))
    labels = [torch.as_tensor(data.labels(split)) for split in ("train", "test")]
    tally = count_right(bank, labels[0], queries, labels[1], k=(K,))
    return tally.accuracy()[K, 0.07][0]


if __name__ == "__main__":
    main()
