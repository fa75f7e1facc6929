"""Figures as lines: a label and a text, as ``sslight check --run`` prints them."""

from __future__ import annotations

from collections.abc import Iterator

from sslight.doctor import words
from sslight.doctor.advice import Length
from sslight.doctor.duplicates import Copies
from sslight.doctor.images import SplitFacts
from sslight.doctor.step import StepFigures

Line = tuple[str, str]


def in_words(facts: SplitFacts) -> str:
    """Say what a split holds, on one line."""
    parts = [f"{words.share(facts.opened, facts.total, 'image')} opened"]
    parts.append(f"{len(facts.bad)} unreadable" if facts.bad else "all readable")
    if facts.good:
        parts += [_sizes(facts), *_colours(facts)]
    if facts.labels is not None:
        parts.append(_labels(facts))
    return ", ".join(parts)


def _sizes(facts: SplitFacts) -> str:
    low, high = facts.sizes.min(axis=0), facts.sizes.max(axis=0)
    if (low == high).all():
        return f"{low[1]} x {low[0]} px"
    median = facts.short_sides[facts.good // 2]
    sides = facts.short_sides
    return f"shorter side {sides[0]} to {sides[-1]} px (median {median})"


def _colours(facts: SplitFacts) -> Iterator[str]:
    yield " and ".join(words.counted(c, "channel") for c in sorted(facts.channels))
    if facts.grey:
        yield f"{'all' if facts.grey == facts.good else facts.grey} grey"


def _labels(facts: SplitFacts) -> str:
    counts = [n for n in facts.labels.counts.values() if n] if facts.labels else []
    if not counts or facts.labels is None:
        return "no label"
    each = (
        f"{min(counts):,}" if min(counts) == max(counts) else f"{min(counts):,} to {max(counts):,}"
    )
    rest = f", {facts.labels.unlabelled:,} without" if facts.labels.unlabelled else ""
    return f"{words.counted(len(counts), 'class', 'classes')} of {each}{rest}"


def copies_in_words(found: Copies) -> str:
    """Say how many images two splits share, and how many were compared."""
    how = "pixels" if found.by_pixels else "whole files"
    (a, b), (n, m), (whole_a, whole_b) = found.splits, found.compared, found.totals
    sides = (
        f"{words.share(m, whole_b, 'image')} of {b} with {words.share(n, whole_a, 'image')} of {a}"
    )
    rest = "" if found.complete else "; a sample, so others may have been missed"
    return f"{len(found.pairs)} ({how} compared: {sides}{rest})"


def step_lines(step: StepFigures, run: Length, ranks: int) -> list[Line]:
    """Say what a step takes, and so an epoch and the whole training."""
    where = step.device if ranks == 1 else f"{step.device}, one of {ranks} devices"
    of = f" of {words.memory(step.device_memory)}" if step.device_memory else ", of this process"
    micro = "" if step.accumulate == 1 else f" = {step.accumulate} micro-batches"
    laps = words.counted(step.laps, "micro-batch", "micro-batches")
    rate = step.images * step.accumulate / step.step
    loader = words.counted(step.workers, "worker") if step.workers else "no workers"
    lines = [
        ("measured on", f"{where}, medians of {laps}"),
        ("memory", f"{words.memory(step.memory)}{of} at its peak, {step.images} images at a time"),
        ("step", f"{words.duration(step.step)}{micro}, {rate:,.0f} images a second and device"),
        ("  computing", words.duration(step.accumulate * step.compute)),
        ("  augmenting", words.duration(step.accumulate * step.augment)),
        ("  waiting", f"{words.duration(step.accumulate * step.steady_wait)} for data ({loader}; "
                      f"one takes {words.duration(step.load)} for {step.images} images)"),
        ("epoch", f"{words.duration(run.epoch)}, {run.per_epoch:,} steps"),
        ("in all", f"{words.duration(run.total)}, {run.steps:,} steps; evaluation not counted"),
    ]  # fmt: skip
    if step.before_epoch >= 0.1:
        lines.insert(6, ("before an epoch", words.duration(step.before_epoch)))
    return lines
