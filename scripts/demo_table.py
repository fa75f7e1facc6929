"""The end of scripts/demo: three backbones on the same images, and where to look."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

RUN = Path("runs/quickstart")
RUNS = {
    "raw pixels": Path("runs/quickstart-pixels"),
    "untrained backbone": Path("runs/quickstart-untrained"),
    "trained backbone": RUN,
}


def main() -> None:
    """Print the table from the runs' own results."""
    table = Table(title="kNN accuracy on the test images (k = 20)")
    table.add_column("features")
    table.add_column("top-1", justify="right")
    table.add_column("top-5", justify="right")
    for name, run in RUNS.items():
        metrics = json.loads((run / "eval" / "knn.json").read_text())["metrics"]
        table.add_row(name, *(f"{100 * metrics[f'k20/{top}']:.1f} %" for top in ("top1", "top5")))
    console = Console()
    console.print(table)
    console.print(f"Done in {int(sys.argv[1])} seconds, installation not counted.")
    console.print(f"The run is in {RUN}: config, checkpoints, log.txt, metrics.jsonl, features.")
    console.print(f"Curves and views: .venv/bin/tensorboard --logdir {RUN}")
    reports = sorted(RUN.glob("report*.html"))
    for report in reports:
        console.print(f"Report: {report}")


if __name__ == "__main__":
    main()
