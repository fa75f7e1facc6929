"""kNN, k-means and the linear grid against faiss and scikit-learn, at the same threads.

pip install faiss-cpu
python scripts/bench_neighbours.py               # a tenth of the large rows
python scripts/bench_neighbours.py --scale 100   # 50,000 x 10,000 x 2,048
"""

from __future__ import annotations

import resource

import numpy as np
import torch
from _bench import Bench, arguments, at_least, at_most, in_turns
from torch.nn.functional import normalize

from sslight.eval._heads import Settings, fit_heads
from sslight.eval.votes import nearest
from sslight.modules.kmeans import kmeans


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
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ours = nearest(queries, bank, 200)
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    same = float((ours[1].numpy() == theirs()[1]).mean())
    bench.compare(
        what,
        lambda: nearest(queries, bank, 200),
        theirs,
        against="faiss IndexFlatIP",
        note=f"{100 * same:.2f} % of the neighbours are at the same rank",
    )
    bench.keep(f"{what}: memory beyond the features", [memory], at_most(1024, "MB"))


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
    from sklearn.linear_model import LogisticRegression

    n, classes = 500 * bench.args.scale, 10
    centers, labels = 0.25 * torch.randn(classes, 256), torch.randint(classes, (2 * n,))
    features = torch.randn(2 * n, 256) + centers[labels]
    train, test = features[:n].numpy(), features[n:].numpy()
    lr = torch.tensor([0.1, 1.0, 10.0, 100.0]).repeat_interleave(3)
    decay = torch.tensor([0.0, 1e-4, 1e-2]).repeat(4)
    best: dict[str, float] = {}

    def ours() -> None:
        heads = fit_heads(train, labels[:n], np.arange(n), Settings(lr, decay, 20, 256, 0))
        guess = heads(test).argmax(2)
        best["ours"] = float((guess == labels[n:, None]).double().mean(0).max())

    def theirs() -> None:
        scores = []
        for c in np.logspace(-4, 1, len(lr)):
            fitted = LogisticRegression(C=c, max_iter=100).fit(train, labels[:n].numpy())
            scores.append(fitted.score(test, labels[n:].numpy()))
        best["theirs"] = max(scores)

    what = f"linear grid of {len(lr)} settings, {n:,} x 256"
    if not bench.wants(what):
        return
    in_turns([ours, theirs], 0)
    note = f"best accuracy {best['ours']:.4f} against {best['theirs']:.4f}"
    against = "scikit-learn LogisticRegression, a fit per setting"
    bench.compare(what, ours, theirs, against=against, reach=at_least(1.0), note=note)


if __name__ == "__main__":
    main()
