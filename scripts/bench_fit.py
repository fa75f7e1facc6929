"""A SimCLR fit on CIFAR-10 images against the same run written with lightly and Lightning.

Equal on both sides: images, first weights, head, batch, views, temperature, optimizer, what weight
decay leaves out, a cosine over steps, length, one worker that stays. Left as each library does it:
sslight sends both views through the network at once, the peer one after the other, and sslight logs
and saves. kNN on the test images at the end of both.

Wall time needs a machine of its own; the default is a short run. Each side of each seed is kept in
``runs/bench_fit.jsonl`` when it is done, so that the same command goes on after a stop.

    python scripts/bench_fit.py --limit 5000 --epochs 20 --seeds 3
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable
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
from sslight.methods.simclr import SimCLR
from sslight.optim import Recipe

LR, DECAY, TEMPERATURE, BATCH, K = 0.06, 5e-4, 0.2, 128, 20
DONE = Path("runs/bench_fit.jsonl")

Fit = Callable[[argparse.Namespace, int], tuple[float, float]]


class Peer(pl.LightningModule):
    """SimCLR as lightly's examples write it, from the weights that sslight's begins with."""

    def __init__(self, twin: SimCLR) -> None:
        super().__init__()
        from lightly.loss import NTXentLoss
        from lightly.models.modules import SimCLRProjectionHead

        self.backbone = copy.deepcopy(twin.backbone)
        self.head = SimCLRProjectionHead(512, 512, 128, batch_norm=False)
        self.head.layers.load_state_dict(twin.projector.state_dict())
        self.criterion = NTXentLoss(temperature=TEMPERATURE)

    def training_step(self, batch: list, batch_idx: int) -> torch.Tensor:
        """Compute the loss of two views."""
        a, b = (self.head(self.backbone(view)) for view in batch[0])
        return self.criterion(a, b)

    def configure_optimizers(self) -> object:
        """SGD with a cosine over steps; norms and biases do not decay."""
        from lightly.models.utils import get_weight_decay_parameters

        decayed, others = get_weight_decay_parameters([self.backbone, self.head])
        groups = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
        optimizer = torch.optim.SGD(groups, LR, momentum=0.9, weight_decay=DECAY)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def main() -> None:
    """Fit both, a seed after the other."""
    args = arguments(__doc__, limit=512, epochs=1, seeds=1)
    bench = Bench("fit", args)
    ratios, gains = [], []
    for seed in range(args.seeds):
        ours, mine = once("sslight", ours_fit, args, seed)
        theirs, other = once("lightly", peer_fit, args, seed)
        ratios.append(ours / theirs)
        gains.append(100 * (mine - other))
        print(f"seed {seed}: {ours:.1f} s against {theirs:.1f}; kNN {mine:.3f} against {other:.3f}")
    what = f"SimCLR, ResNet-18, {args.limit} CIFAR-10 images, {args.epochs} epochs"
    bench.keep(f"{what}: wall time", ratios, at_most(0.9), "lightly + Lightning")
    bench.keep(f"{what}: kNN", gains, at_least(0.0, "points"), "lightly + Lightning")


def once(side: str, fit: Fit, args: argparse.Namespace, seed: int) -> tuple[float, float]:
    """Fit one side, or return what an earlier call of the same command found."""
    key = {"side": side, "seed": seed, "limit": args.limit, "epochs": args.epochs}
    rows = DONE.read_text().splitlines() if DONE.exists() else []
    for row in map(json.loads, rows):
        if row["key"] == key:
            return row["seconds"], row["knn"]
    seconds, accuracy = fit(args, seed)
    DONE.parent.mkdir(exist_ok=True)
    with DONE.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"key": key, "seconds": seconds, "knn": accuracy}) + "\n")
    return seconds, accuracy


def method_of(seed: int) -> SimCLR:
    """Return the method of both sides, its weights drawn from the seed."""
    torch.manual_seed(seed)
    recipe = Recipe(optimizer="sgd", lr=LR, weight_decay=DECAY, momentum=0.9)
    network = backbone("resnet18", stem="small")
    return SimCLR(network, recipe, hidden_dim=512, bn=False, temperature=TEMPERATURE)


def data_of(args: argparse.Namespace, seed: int) -> SSLDataModule:
    """Return the images of both sides."""
    root = args.data / "cifar10"
    return SSLDataModule(
        Folder(root / "train"),
        Folder(root / "test"),
        views=simclr(32),
        batch_size=BATCH,
        limit=args.limit,
        test_limit=args.limit,
        workers=1,
        seed=seed,
    )


def ours_fit(args: argparse.Namespace, seed: int) -> tuple[float, float]:
    """Train as ``sslight fit`` does; return seconds and kNN accuracy."""
    data, method = data_of(args, seed), method_of(seed)
    node = {
        **config.load("_base_/pretrain"),
        "seed": seed,
        "trainer": {"log_every_n_steps": 10, "max_epochs": args.epochs, "accelerator": "cpu"},
    }
    with TemporaryDirectory() as folder:
        start = time.perf_counter()
        sslight.fit({**node, "run_dir": str(Path(folder) / "run")}, data=data, method=method)
        return time.perf_counter() - start, knn(method.eval_backbone, data_of(args, seed))


def peer_fit(args: argparse.Namespace, seed: int) -> tuple[float, float]:
    """Train the peer on the same images."""
    from lightly.transforms import SimCLRTransform

    data = data_of(args, seed)
    kept = {str(i) for i in data.ids("train")}
    root = args.data / "cifar10" / "train"
    images = ImageFolder(root, SimCLRTransform(input_size=32, gaussian_blur=0.0))
    rows = [i for i, (p, _) in enumerate(images.samples) if str(Path(p).relative_to(root)) in kept]
    method = Peer(method_of(seed))
    options = {"batch_size": BATCH, "shuffle": True, "drop_last": True, "num_workers": 1}
    loader = DataLoader(Subset(images, rows), persistent_workers=True, **options)
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
