"""Whole SimCLR fits against the same fits written with lightly and Lightning.

Equal on both sides: images, first weights, head, batch, views, temperature, optimizer, what weight
decay leaves out, a cosine over steps, length, one worker that stays. Left as each library does it:
sslight sends both views through the network at once with channels innermost, the peer one after the
other in torch's layout; sslight logs, saves, and writes its report. kNN on the test images at the
end of both, where there are any.

Measured are wall time, and CPU time of the process and of its workers; every fit has a process of
its own. sslight finishes views beside the network, the peer in its worker: with a core to spare the
worker's time is hidden, which only the wall clock sees. Each side of each seed is kept in
``runs/bench_fit.jsonl`` when it is done, so that the same command goes on after a stop; remove that
file when the code has changed.

    python scripts/bench_fit.py              # all rows
    python scripts/bench_fit.py JPEG         # those that have the word in their name
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytorch_lightning as pl
import torch
from _bench import Bench, Reach, arguments, at_least, at_most, in_fresh_process
from PIL import Image
from torch.utils.data import DataLoader, Dataset

import sslight
from sslight import SSLDataModule, backbone, config
from sslight.augment.presets import simclr
from sslight.data.sources.folder import Folder
from sslight.eval.votes import count_right
from sslight.features.compute import dataset_features
from sslight.methods.simclr import SimCLR
from sslight.optim import Recipe

LR, DECAY, TEMPERATURE, K = 0.06, 5e-4, 0.2, 20
DONE = Path("runs/bench_fit.jsonl")
CLOCKS = {"wall": "wall", "cpu": "CPU"}


@dataclass(frozen=True)
class Case:
    """One row: a network and its images."""

    label: str
    folder: str
    reach: Reach
    network: dict[str, Any] = field(default_factory=dict)
    size: int = 32
    limit: int | None = None
    epochs: int = 1
    batch: int = 128
    seeds: int = 3
    blur: float = 0.0

    @property
    def name(self) -> str:
        """What the row is called."""
        images = "all" if self.limit is None else f"{self.limit:,}"
        return f"SimCLR, {self.label}, {images} images, {self.epochs} epochs"


CASES = [
    Case(
        "ResNet-18, CIFAR-10",
        "cifar10",
        at_most(0.9),
        {"name": "resnet18", "stem": "small"},
        limit=1024,
    ),
    Case(
        "ResNet-10 of half the width, CIFAR-10",
        "cifar10",
        at_most(0.9),
        {"name": "resnet10", "stem": "stride2", "width": 32},
        limit=5000,
        epochs=10,
    ),
    Case(
        "224 px from JPEG, a network small enough for the data to be the bottleneck",
        "photos",
        at_most(0.6),
        {"name": "resnet10", "width": 4},
        size=224,
        epochs=20,
        batch=24,
        blur=0.5,
    ),
]


class Peer(pl.LightningModule):
    """SimCLR as lightly's examples write it, from the weights that sslight's begins with."""

    def __init__(self, twin: SimCLR) -> None:
        super().__init__()
        from lightly.loss import NTXentLoss
        from lightly.models.modules import SimCLRProjectionHead

        self.backbone = copy.deepcopy(twin.backbone)
        width = self.backbone.embed_dim
        self.head = SimCLRProjectionHead(width, 512, 128, batch_norm=False)
        self.head.layers.load_state_dict(twin.projector.state_dict())
        self.criterion = NTXentLoss(temperature=TEMPERATURE)

    def training_step(self, batch: list, batch_idx: int) -> torch.Tensor:
        """Compute the loss of two views."""
        a, b = (self.head(self.backbone(view)) for view in batch)
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


class Files(Dataset):
    """Image files through a transform, as torchvision's and lightly's data sets do it."""

    def __init__(self, paths: list[Path], transform: Callable[[Image.Image], Any]) -> None:
        self.paths, self.transform = paths, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> Any:
        return self.transform(Image.open(self.paths[i]).convert("RGB"))


@dataclass(frozen=True)
class Spent:
    """What a fit took, in seconds, and what it came to."""

    cpu: float
    wall: float
    knn: float


Fit = Callable[[Case, Path, int], Spent]


def main() -> None:
    """Fit both, a seed after the other."""
    args = arguments(__doc__)
    bench = Bench("fit", args)
    for case in CASES:
        if bench.wants(case.name):
            measure(case, bench, args)


def measure(case: Case, bench: Bench, args: argparse.Namespace) -> None:
    """Keep the rows of one case."""
    pairs = []
    for seed in range(case.seeds):
        ours = once("sslight", ours_fit, case, args.data, seed)
        theirs = once("lightly", peer_fit, case, args.data, seed)
        pairs.append((ours, theirs))
        print(f"seed {seed}: {ours} against {theirs}", flush=True)
    for clock in ("wall", "cpu"):
        seconds = [(getattr(ours, clock), getattr(theirs, clock)) for ours, theirs in pairs]
        note = ", ".join(f"{ours:.0f} s against {theirs:.0f}" for ours, theirs in seconds)
        ratios, what = [ours / theirs for ours, theirs in seconds], f"{CLOCKS[clock]} time"
        bench.keep(f"{case.name}: {what}", ratios, case.reach, "lightly + Lightning", note=note)
    if (args.data / case.folder / "test").is_dir():
        gains = [100 * (ours.knn - theirs.knn) for ours, theirs in pairs]
        bench.keep(f"{case.name}: kNN", gains, at_least(0.0, "points"), "lightly + Lightning")


def once(side: str, fit: Fit, case: Case, data: Path, seed: int) -> Spent:
    """Fit one side, or return what an earlier call of the same command found."""
    key = {"side": side, "seed": seed, "case": case.name}
    rows = DONE.read_text().splitlines() if DONE.exists() else []
    for row in map(json.loads, rows):
        if row["key"] == key:
            return Spent(**row["spent"])
    spent: Spent = in_fresh_process(fit, case, data / case.folder, seed)
    DONE.parent.mkdir(exist_ok=True)
    with DONE.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"key": key, "spent": asdict(spent)}) + "\n")
    return spent


def stopwatch() -> Callable[[], tuple[float, float]]:
    """Return what tells CPU and wall seconds from now on."""
    cpu, wall = cpu_seconds(), time.perf_counter()
    return lambda: (cpu_seconds() - cpu, time.perf_counter() - wall)


def cpu_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    gc.collect()  # ends what is left of workers
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def method_of(case: Case, seed: int) -> SimCLR:
    """Return the method of both sides, its weights drawn from the seed."""
    torch.manual_seed(seed)
    recipe = Recipe(optimizer="sgd", lr=LR, weight_decay=DECAY, momentum=0.9)
    network = backbone(**case.network)
    return SimCLR(network, recipe, hidden_dim=512, bn=False, temperature=TEMPERATURE)


def data_of(case: Case, folder: Path, seed: int) -> SSLDataModule:
    """Return the images of both sides."""
    tested = (folder / "test").is_dir()
    return SSLDataModule(
        Folder(images_in(folder)),
        Folder(folder / "test") if tested else None,
        views=simclr(case.size, blur=case.blur),
        batch_size=case.batch,
        limit=case.limit,
        workers=1,
        seed=seed,
    )


def images_in(folder: Path) -> Path:
    """Where the training images are."""
    return folder / "train" if (folder / "train").is_dir() else folder


def ours_fit(case: Case, folder: Path, seed: int) -> Spent:
    """Train as ``sslight fit`` does."""
    data, method = data_of(case, folder, seed), method_of(case, seed)
    node = {
        **config.load("_base_/pretrain"),
        "seed": seed,
        "trainer": {"log_every_n_steps": 10, "max_epochs": case.epochs, "accelerator": "cpu"},
    }
    with TemporaryDirectory() as run:
        took = stopwatch()
        sslight.fit({**node, "run_dir": str(Path(run) / "run")}, data=data, method=method)
        cpu, wall = took()
    return Spent(cpu, wall, knn(method.eval_backbone, data_of(case, folder, seed)))


def peer_fit(case: Case, folder: Path, seed: int) -> Spent:
    """Train the peer on the same images."""
    from lightly.transforms import SimCLRTransform

    data = data_of(case, folder, seed)
    paths = [images_in(folder) / name for name in data.ids("train")]
    method = Peer(method_of(case, seed))
    took = stopwatch()
    images = Files(paths, SimCLRTransform(input_size=case.size, gaussian_blur=case.blur))
    options = {"batch_size": case.batch, "shuffle": True, "drop_last": True, "num_workers": 1}
    loader = DataLoader(images, persistent_workers=True, **options)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    pl.Trainer(max_epochs=case.epochs, accelerator="cpu", **quiet).fit(method, loader)
    cpu, wall = took()
    return Spent(cpu, wall, knn(method.backbone, data))


def knn(network: torch.nn.Module, data: SSLDataModule) -> float:
    """Classify the test images by their neighbours; 0 without any."""
    if "test" not in data.split_names:
        return 0.0
    bank, queries = (dataset_features(network, data, split) for split in ("train", "test"))
    labels = [torch.tensor(data.labels(split)) for split in ("train", "test")]
    tally = count_right(bank, labels[0], queries, labels[1], k=(K,))
    return tally.accuracy()[K, 0.07][0]


if __name__ == "__main__":
    main()
