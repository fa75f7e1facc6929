"""kNN, k-means and the linear grid against faiss and scikit-learn, at the same threads.

pip install faiss-cpu
python scripts/bench_neighbours.py               # a tenth of the large rows
python scripts/bench_neighbours.py --scale 100   # 50,000 x 10,000 x 2,048
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from _bench import (
    Bench,
    arguments,
    at_least,
    at_most,
    in_turns,
    most_private_memory,
    private_memory,
)
from torch import Tensor
from torch.nn.functional import normalize

import sslight
from sslight.data.sources.folder import Folder
from sslight.eval._heads import Settings, fit_heads
from sslight.eval.neighbours import nearest
from sslight.modules.kmeans import kmeans

Labelled = tuple[Tensor, Tensor]

#: The grid: every rate with every decay.
LR = torch.tensor([0.1, 1.0, 10.0, 100.0]).repeat_interleave(3)
DECAY = torch.tensor([0.0, 1e-4, 1e-2]).repeat(4)


def main() -> None:
    """Measure all rows."""
    import faiss

    args = arguments(__doc__, scale=10)
    faiss.omp_set_num_threads(1)
    bench = Bench("neighbours", args)
    knn(bench)
    clusters(bench)
    linear(bench)


def knn(bench: Bench) -> None:
    """Find the 200 nearest, exactly."""
    import faiss

    n, q = 500 * bench.args.scale, 100 * bench.args.scale
    bank, queries = (normalize(torch.randn(rows, 2048), dim=1) for rows in (n, q))

    def theirs() -> tuple[np.ndarray, np.ndarray]:
        index = faiss.IndexFlatIP(2048)
        index.add(bank.numpy())
        return index.search(queries.numpy(), 200)

    what = f"kNN, {n:,} x {q:,} x 2,048, k = 200"
    if not bench.wants(what):
        return
    found: list[Tensor] = []
    before = private_memory()
    most = most_private_memory(lambda: found.extend(nearest(queries, bank, 200)))
    same = float((found[1].numpy() == theirs()[1]).mean())
    bench.compare(
        what,
        lambda: nearest(queries, bank, 200),
        theirs,
        against="faiss IndexFlatIP",
        note=f"{100 * same:.2f} % of the neighbours are at the same rank",
    )
    memory = [(most - before) / 2**20]
    bench.keep(f"{what}: memory beyond the features", memory, at_most(1024, "MB"))


def clusters(bench: Bench) -> None:
    """Make ten rounds of k-means."""
    import faiss

    n = 5000 * bench.args.scale
    rows = torch.randn(n, 128)

    def theirs() -> None:
        limits = {"min_points_per_centroid": 1, "max_points_per_centroid": n}
        faiss.Kmeans(128, 500, niter=10, **limits).train(rows.numpy())

    what = f"k-means, {n:,} x 128, 500 clusters, 10 rounds"
    bench.compare(what, lambda: kmeans(rows, 500, 10), theirs, against="faiss Kmeans")


def linear(bench: Bench) -> None:
    """Train a grid of linear classifiers, to at least the same accuracy."""
    n, classes = 500 * bench.args.scale, 10
    what = f"linear grid of {len(LR)} settings, {n:,} x 256, drawn clusters"
    if bench.wants(what):
        centers, labels = 0.25 * torch.randn(classes, 256), torch.randint(classes, (2 * n,))
        features = torch.randn(2 * n, 256) + centers[labels]
        grid(bench, what, (features[:n], labels[:n]), (features[n:], labels[n:]))
    what = f"linear grid of {len(LR)} settings, 10,000 x 512, images of CIFAR-10"
    if bench.wants(what) and (bench.args.data / "cifar10").is_dir():
        folder = bench.args.data / "cifar10"
        grid(bench, what, embedded(folder / "train"), embedded(folder / "test"))


def grid(bench: Bench, what: str, train: Labelled, test: Labelled) -> None:
    """Compare the whole grid: all heads in one pass against a fit per setting."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    warnings.simplefilter("ignore", ConvergenceWarning)
    mean, deviation = train[0].mean(0), train[0].std(0)
    x, x_test = (((rows - mean) / deviation).numpy() for rows in (train[0], test[0]))
    y, y_test = train[1].numpy(), test[1].numpy()
    best: dict[str, float] = {}

    def ours() -> None:
        heads = fit_heads(x, train[1], np.arange(len(x)), Settings(LR, DECAY, 20, 256, 0))
        guess = heads(x_test).argmax(2)
        best["ours"] = float((guess == test[1][:, None]).double().mean(0).max())

    def theirs() -> None:
        fits = (LogisticRegression(C=c, max_iter=100).fit(x, y) for c in np.logspace(-4, 1, 12))
        best["theirs"] = max(fitted.score(x_test, y_test) for fitted in fits)

    in_turns([ours, theirs], 0)
    note = f"best accuracy {best['ours']:.4f} against {best['theirs']:.4f}"
    against = "scikit-learn LogisticRegression, a fit per setting"
    bench.compare(what, ours, theirs, against=against, reach=at_least(1.0), note=note)


@torch.inference_mode()
def embedded(folder: Path) -> Labelled:
    """Features of a folder's images by an untrained ResNet-18, and their labels."""
    source = Folder(str(folder))
    source.open()
    torch.manual_seed(0)
    network = sslight.backbone("resnet18", stem="stride2").eval()
    images = torch.stack([source.load(i) for i in range(len(source))])
    parts = [network((part / 255 - 0.45) / 0.225) for part in images.split(256)]
    return torch.cat(parts), torch.tensor(source.labels)


if __name__ == "__main__":
    main()
