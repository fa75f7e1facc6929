"""Write the table of docs/benchmarks.md from docs/benchmarks.jsonl: of each row its newest figure.

python scripts/bench_tables.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "docs" / "benchmarks.jsonl"
PAGE = RESULTS.with_suffix(".md")
TABLE = re.compile(r"<!-- benchmarks -->\n.*?<!-- end -->", re.DOTALL)
VERDICT = {True: "reached", False: "**not reached**", None: ""}


def main() -> None:
    """Write the table anew."""
    text = f"<!-- benchmarks -->\n{tables()}\n<!-- end -->"
    PAGE.write_text(TABLE.sub(lambda _: text, PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def rows() -> list[dict[str, Any]]:
    """The newest figure of each row, in the order in which rows were first measured."""
    lines = [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]
    return list({(row["group"], row["row"], row["against"]): row for row in lines}.values())


def tables() -> str:
    """Return one Markdown table per group."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows():
        groups.setdefault(row["group"], []).append(row)
    return "\n\n".join(f"## {group}\n\n{table(found)}" for group, found in groups.items())


def table(found: list[dict[str, Any]]) -> str:
    """Return the table of a group, and below it what it was measured with."""
    lines = [
        "| what | against | figure | spread | reach | | ms each | run |",
        "|---|---|--:|--:|--:|---|--:|---|",
    ]
    runs = list(dict.fromkeys(_measured(row) for row in found))
    for row in found:
        spread = f"{row['low']:g} to {row['high']:g}" if row["repeats"] > 1 else ""
        each = f"{row['ours_ms']:.4g} / {row['peer_ms']:.4g}" if "ours_ms" in row else ""
        note = f" ({row['note']})" if row.get("note") else ""
        lines.append(
            f"| {row['row']}{note} | {row['against']} | {row['figure']:g} {row['unit']} | {spread} "
            f"| {row['reach']} | {VERDICT[row['reached']]} | {each} "
            f"| {runs.index(_measured(row)) + 1} |"
        )
    return "\n".join([*lines, "", *(f"{i + 1}. {run}" for i, run in enumerate(runs))])


def _measured(row: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
    return (
        f"`{row['command']}`; {row['machine']}, {row['threads']} thread; {versions}; "
        f"{row['commit']}, {row['date']}."
    )


if __name__ == "__main__":
    main()
