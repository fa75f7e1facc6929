"""The learning matrix: train every method from its quick config and compare with not training.

Every method that has ``configs/<method>/shapes.yaml`` is trained, on generated images or, with
``--data``, on a folder with ``train/`` and ``test/``; there from ``small_images.yaml`` where the
method has one. Features are extracted and classified by kNN and a linear probe, and so are those of
the same backbone untrained, and raw pixels. A finished row is kept in docs/learning_matrix.jsonl,
so that the script goes on where it was stopped; the tables in docs/methods.md are written from that
file.

    python scripts/bench_methods.py                                  # generated images
    python scripts/bench_methods.py --data ../shared/data/cifar10    # a folder
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _bench import commit

from sslight import config, load_features, metrics, registry
from sslight.backbones.inputs import input_of
from sslight.checkpoints import weights_digest
from sslight.run.assemble import build_data, build_method

REPOSITORY = Path(__file__).parents[1]
RESULTS = REPOSITORY / "docs" / "learning_matrix.jsonl"
PAGE = REPOSITORY / "docs" / "methods.md"
TABLE = re.compile(r"<!-- matrix: (\w+) -->\n.*?<!-- end -->", re.DOTALL)

#: Share of test images above the untrained backbone that a method must reach, by kNN or by the
#: linear probe: on generated images, and on real ones, where labels gain 34 points by kNN, not 70.
CLEAR, CLEAR_ON_REAL = 0.15, 0.10

#: Methods that start from trained weights, and the key that names them: here SimCLR's run.
STARTS_FROM = {"clusterfit": "init", "distill": "method.teacher"}

#: Real images need more steps than the quick configs make; the price is half the digits, and the
#: probes along the way.
QUICKER = ["trainer.precision=bf16-mixed"]
QUICKER += [f"callbacks.{name}=null" for name in ("knn", "linear_probe", "view_grid")]

Row = dict[str, Any]


def main() -> None:
    """Measure the rows that are missing, and write the tables."""
    args = _arguments()
    failed = [m for m in args.methods or quick_methods() if not _told(m, args)]
    write_tables()
    if failed:
        sys.exit(f"Failed: {', '.join(failed)}")


def _told(method: str, args: argparse.Namespace) -> bool:
    """Print a method's row, or what its failing command said; the others go on."""
    try:
        print(_line(measure(method, args)), flush=True)
    except subprocess.CalledProcessError as error:
        print(f"{method}: {error}\n{error.stdout[-2000:]}", flush=True)
        return False
    return True


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("methods", nargs="*", help="which ones; all by default")
    parser.add_argument("--data", type=Path, help="a folder with train/ and test/")
    parser.add_argument("--epochs", type=int, default=15, help="with --data, at least so many")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"), help="where runs go")
    parser.add_argument("--again", action="store_true", help="measure rows that are there, too")
    return parser.parse_args()


def quick_methods() -> list[str]:
    """Every method with a quick config."""
    return [m for m in registry.names("method") if f"{m}/shapes" in config.shipped()]


def recipe(method: str, real: bool) -> str:
    """The name of a method's quick config: for real images its own, where it has one."""
    own = f"{method}/small_images"
    return own if real and own in config.shipped() else f"{method}/shapes"


def _recipe(method: str, args: argparse.Namespace) -> tuple[str, list[str]]:
    """The name of a method's quick config for this data, and what is overridden in it."""
    named = recipe(method, args.data is not None)
    return named, _overrides(named, args)


# ------------------------------------------------------------------ measuring


def measure(method: str, args: argparse.Namespace) -> Row:
    """Return the row of a method, measured now unless it is there for this very config."""
    data = args.data.name if args.data else "shapes"
    named, overrides = _recipe(method, args)
    composed, key = composed_and_key(named, overrides)
    for row in rows():
        if (row["method"], row["data"], row["key"]) == (method, data, key) and not args.again:
            return row
    run = args.out / data / f"{method}-{key}"
    start = [f"{STARTS_FROM[method]}={trained_simclr(args)}"] if method in STARTS_FROM else []
    sslight("fit", named, run, *overrides, *start)
    trained = evaluated(named, run, *overrides)
    row = {
        "method": method,
        "data": data,
        "key": key,
        **trained,
        **_baselines(named, composed, args.out / data, overrides),
        **_speed(run),
        "seed": composed.get("seed", 0),
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
    }
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    return row


def composed_and_key(named: str, overrides: list[str]) -> tuple[Any, str]:
    """A config with overrides, and a hash of it."""
    composed = config.compose(named, overrides)
    return composed, hashlib.sha256(composed.text.encode()).hexdigest()[:12]


def trained_simclr(args: argparse.Namespace) -> Path:
    """The folder of SimCLR's run on this data, trained now if it is not there."""
    named, overrides = _recipe("simclr", args)
    data = args.data.name if args.data else "shapes"
    run: Path = args.out / data / f"simclr-{composed_and_key(named, overrides)[1]}"
    if not (run / "backbone.safetensors").is_file():
        sslight("fit", named, run, *overrides)
    return run.resolve()


def _overrides(named: str, args: argparse.Namespace) -> list[str]:
    if args.data is None:
        return []
    epochs = max(args.epochs, config.load(named)["trainer"]["max_epochs"])
    splits = [f"data.{s}={{name: folder, root: {args.data / s}}}" for s in ("train", "test")]
    return [*splits, f"trainer.max_epochs={epochs}", *QUICKER]


def sslight(command: str, named: str, run: Path, *overrides: str) -> None:
    """Run the command line with a config, as a user would."""
    words = [sys.executable, "-m", "sslight", command]
    words += ["knn", "linear"] if command == "eval" else []
    words += ["--config", named, f"run_dir={run}", *overrides]
    subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)


def evaluated(named: str, run: Path, *overrides: str) -> Row:
    """Extract and evaluate; kNN and linear accuracy, effective rank of the test features."""
    sslight("extract", named, run, *overrides)
    sslight("eval", named, run, *overrides)
    knn, linear = (
        json.loads((run / "eval" / f"{name}.json").read_text())["metrics"]
        for name in ("knn", "linear")
    )
    features, _ = load_features(run)["test"].torch()
    rank = float(metrics.effective_rank(features.float().flatten(1)))
    return {"knn": knn["k20/top1"], "linear": linear["top1"], "rank": round(rank, 1)}


def _baselines(named: str, composed: Any, out: Path, overrides: list[str]) -> Row:
    """The same backbone untrained, and raw pixels; each measured once per kind of both."""
    images = [f"data.{split}={json.dumps(composed['data'][split])}" for split in ("train", "test")]
    found = {}
    for label, of, seen, more in (
        ("untrained", named, [*evaluates(composed), images], []),
        ("pixels", "simclr/shapes", images, ["backbone=pixels"]),
    ):
        run = out / f"{label}-{_short(seen)}"
        kept = run / "row.json"
        if not kept.is_file():
            row = evaluated(of, run, *overrides, *images, "init=random", *more)
            kept.write_text(json.dumps(row))
        row = json.loads(kept.read_text())
        found |= {f"{label}_{figure}": row[figure] for figure in ("knn", "linear")}
    return found


def evaluates(composed: Any) -> list[str]:
    """What an untrained backbone is, and how it sees images: methods change both."""
    network = build_method(composed, ()).eval_backbone
    view = build_data(composed, ()).clean_view()
    return [weights_digest(network.state_dict()), str(input_of(network)), repr(view)]


def _short(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:8]


def _speed(run: Path) -> Row:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    seen = [line for line in lines if "time/images_per_second" in line]
    return {
        "images_per_second": round(statistics.median(s["time/images_per_second"] for s in seen)),
        "steps": max(line["step"] for line in lines),
    }


# ------------------------------------------------------------------ tables


def rows() -> list[Row]:
    """Every kept row; of several for one method and data the newest."""
    if not RESULTS.is_file():
        return []
    lines = [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]
    return list({(row["method"], row["data"]): row for row in lines}.values())


def learned(row: Row) -> bool:
    """Whether the method clearly beats its untrained backbone, by kNN or by the linear probe."""
    clear = CLEAR if row["data"] == "shapes" else CLEAR_ON_REAL
    return any(row[f] >= row[f"untrained_{f}"] + clear for f in ("knn", "linear"))


def table(data: str) -> str:
    """Return the Markdown table of a data set."""
    return "\n".join(
        [
            "| method | paper | kNN | untrained | pixels | linear | untrained | pixels | rank "
            "| images/s | steps | |",
            "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|",
            *_cells(data),
        ]
    )


def _cells(data: str) -> Iterator[str]:
    for row in sorted(rows(), key=lambda row: row["method"]):
        if row["data"] != data:
            continue
        figures = [
            f"{100 * row[f'{kind}{figure}']:.1f}"
            for figure in ("knn", "linear")
            for kind in ("", "untrained_", "pixels_")
        ]
        told = "" if learned(row) else "**not clear**; "
        yield (
            f"| `{row['method']}` | {_paper(row['method'])} | {' | '.join(figures)} "
            f"| {row['rank']:.0f} | {row['images_per_second']} | {row['steps']} "
            f"| {told}seed {row['seed']}, {row['date']}, {row['commit']} |"
        )


def _paper(method: str) -> str:
    named = re.search(r"arXiv:(\d{4}\.\d{4,5})", registry.summary("method", method))
    return f"[{named[1]}](https://arxiv.org/abs/{named[1]})" if named else ""


def write_tables() -> None:
    """Write the tables of the page anew."""
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(
        TABLE.sub(lambda m: f"<!-- matrix: {m[1]} -->\n{table(m[1])}\n<!-- end -->", text),
        encoding="utf-8",
    )


def _line(row: Row) -> str:
    return (
        f"{row['method']:16} {row['data']:8} kNN {row['knn']:.3f} (untrained "
        f"{row['untrained_knn']:.3f}, pixels {row['pixels_knn']:.3f})  linear {row['linear']:.3f} "
        f"(untrained {row['untrained_linear']:.3f})  rank {row['rank']}  "
        f"{row['images_per_second']} images/s  {'ok' if learned(row) else 'NOT CLEAR'}"
    )


if __name__ == "__main__":
    main()
