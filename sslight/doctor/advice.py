"""From figures to sentences: what is wrong, what to change, and why. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sslight.doctor.duplicates import Copies
from sslight.doctor.images import SplitFacts
from sslight.doctor.step import StepFigures
from sslight.doctor.words import Finding, counted, duration, listed, memory

#: Share of a step spent waiting for data from which on it is worth a change.
_WAITING = 0.1
#: Fullness of a GPU's memory that leaves no room for the next larger batch, and the reverse.
_FULL, _ROOMY = 0.92, 0.45
#: Views this much larger than the images are mostly interpolation.
_ENLARGED = 1.5
#: Optimizer steps below which self-supervised training has hardly begun.
_FEW_STEPS = 1000
_LONG = 3 * 86400.0


@dataclass(frozen=True)
class Situation:
    """What advice depends on beside the figures.

    Attributes:
        cores: Processor cores that this process may use.
        ranks: Devices of the run.
        precision: ``trainer.precision``.
        gpu_idle: Whether there is a GPU that the config does not use.
        takes_bf16: Whether the GPU computes in bfloat16.
        exact_accumulation: Whether accumulating micro-batches equals one large batch.
        on_error: ``data.on_error``.
    """

    cores: int = 1
    ranks: int = 1
    precision: str = "32-true"
    gpu_idle: bool = False
    takes_bf16: bool = True
    exact_accumulation: bool = True
    on_error: str = "raise"


# -------------------------------------------------------------------- images


def on_images(facts: SplitFacts, on_error: str) -> Iterator[Finding]:
    """Judge what a split holds."""
    yield from _on_bad(facts, on_error)
    if len(facts.channels) > 1:
        kinds = ", ".join(f"{n:,} with {c}" for c, n in sorted(facts.channels.items()))
        yield Finding(
            "problem",
            f"data.{facts.split}: images of one batch need the same number of channels; found "
            f"{kinds}. Convert them to one kind.",
        )
    if facts.good and facts.grey == facts.good:
        yield Finding(
            "note",
            f"data.{facts.split}: every image opened is grey. Saturation, hue and random grey of "
            "the views do nothing to them; brightness, contrast, blur and crops are what differs.",
        )
    yield from _on_labels(facts)


def _on_bad(facts: SplitFacts, on_error: str) -> Iterator[Finding]:
    if not facts.bad:
        return
    named = listed(list(facts.bad), 3)
    whole = facts.opened == facts.total
    looked = counted(facts.total, "image") if whole else f"{facts.opened:,} images opened"
    text = f"data.{facts.split}: {len(facts.bad)} of {looked} cannot be read: {named}."
    if on_error == "raise":
        text += " Training would stop there: remove them, or write data.on_error=replace."
        yield Finding("problem", text)
    else:
        yield Finding("note", f"{text} data.on_error is {on_error}, so training goes on.")


def _on_labels(facts: SplitFacts) -> Iterator[Finding]:
    if facts.labels is None:
        return
    where = f"data.{facts.split}"
    counts = {name: n for name, n in facts.labels.counts.items() if n}
    if facts.labels.empty:
        yield Finding(
            "note",
            f"{where}: {counted(len(facts.labels.empty), 'class', 'classes')} without an image: "
            f"{listed(facts.labels.empty)}. Accuracies are over the classes that have some.",
        )
    if len(counts) == 1:
        yield Finding(
            "note",
            f"{where}: all labelled images are of one class ({next(iter(counts))}), so kNN and "
            "linear accuracy will be 100 % and mean nothing.",
        )
    elif counts and max(counts.values()) > 20 * min(counts.values()):
        rare, common = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
        yield Finding(
            "note",
            f"{where}: {common} has {counts[common]:,} images and {rare} {counts[rare]:,}. Overall "
            "accuracy will be that of the large classes; look at the classes one by one.",
        )


def on_copies(found: Copies) -> Iterator[Finding]:
    """Judge images that the splits share."""
    first, second = found.splits
    if found.pairs:
        shown = listed([f"{b} = {a}" for a, b in found.pairs], 3)
        yield Finding(
            "problem",
            f"{counted(len(found.pairs), 'image')} of data.{second} "
            f"{'is' if len(found.pairs) == 1 else 'are'} also in data.{first}: {shown}. Accuracies "
            f"on them say nothing about new images; remove them from data.{first}.",
        )
    if found.inside:
        yield Finding(
            "note",
            f"data.{first}: {counted(found.inside, 'image')} repeat"
            f"{'s' if found.inside == 1 else ''} an earlier one. Copies in a batch are pushed "
            "apart as if they were different images; remove them if they are many.",
        )


def on_view_size(facts: SplitFacts, size: int) -> Iterator[Finding]:
    """Compare the views' size with the images'."""
    if not facts.good:
        return
    median = int(facts.short_sides[facts.good // 2])
    if size > _ENLARGED * median:
        yield Finding(
            "advice",
            f"data.views.size={_nearest_size(median)}: views of {size} px are cut from images of "
            f"{median} px (median of the shorter side), so most of their pixels are interpolated "
            "and the time they take is wasted. A ResNet for small views is backbone.stem=small.",
        )
    elif median > 6 * size:
        yield Finding(
            "advice",
            f"Store the images smaller: they are {median} px (median of the shorter side) and the "
            f"views {size} px. Copies of about {3 * size} px decode in a fraction of the time.",
        )


def _nearest_size(pixels: int) -> int:
    """Return a usual size of views, a multiple of 32."""
    return max(round(pixels / 32), 1) * 32


# -------------------------------------------------------------------- the step


def on_step(step: StepFigures, situation: Situation) -> Iterator[Finding]:
    """Judge a measured step."""
    if not math.isfinite(step.loss):
        yield Finding(
            "problem",
            f"The loss is {step.loss} within the first steps. Lower optim.lr, and see whether "
            "trainer.precision=32-true cures it.",
        )
    yield from on_waiting(step, situation)
    yield from on_memory(step, situation)
    yield from on_precision(step, situation)
    if situation.gpu_idle:
        yield Finding(
            "advice",
            "trainer.accelerator=gpu: this machine has a GPU, and the config trains on the CPU.",
        )


def on_waiting(step: StepFigures, situation: Situation) -> Iterator[Finding]:
    """Judge how long the device waits for batches, and say how many workers would do."""
    micro = step.busy + step.steady_wait
    if micro <= 0 or step.steady_wait / micro < _WAITING:
        return
    part = f"{step.steady_wait / micro:.0%} of a step is waiting for data"
    needed = max(math.ceil(step.load / max(step.busy, 1e-9)), 1)
    spare = max(situation.cores // max(situation.ranks, 1) - 1, 0)
    why = (
        f"one worker needs {duration(step.load)} for a batch, the device {duration(step.busy)}"
        f"{'' if step.workers else ', and without workers one waits for the other'}"
    )
    if step.workers < min(needed, spare):
        yield Finding("advice", f"data.workers={min(needed, spare)}: {part}; {why}.")
    if needed > spare:
        yield Finding(
            "advice",
            f"Make batches cheaper to load: {part}; {why}. That asks for {needed} workers, and "
            f"there {'is' if spare == 1 else 'are'} {counted(spare, 'core')} beside the training. "
            "Store images nearer to the views' size, or cut fewer or smaller views.",
        )


def on_memory(step: StepFigures, situation: Situation) -> Iterator[Finding]:
    """Judge the memory of a GPU, and say which batch would fit."""
    if step.device_memory is None:
        return
    full = step.memory / step.device_memory
    said = f"the peak was {memory(step.memory)} of {memory(step.device_memory)}"
    if full > _FULL:
        other = (
            ""
            if situation.exact_accumulation
            else " (for this method only approximately the same; train_step.name=gradcache is not)"
        )
        yield Finding(
            "advice",
            f"trainer.accumulate_grad_batches={2 * step.accumulate}{other}: {said}, and a longer "
            "run may need a little more. backbone.checkpoint_blocks saves memory too, for time.",
        )
    elif full < _ROOMY and step.accumulate > 1:
        yield Finding(
            "advice",
            f"trainer.accumulate_grad_batches={max(step.accumulate // 2, 1)}: {said}, so larger "
            "micro-batches fit.",
        )
    elif full < _ROOMY:
        factor = 2 ** int(math.log2(0.85 / max(full, 1e-6)))
        batch = step.images * situation.ranks * step.accumulate * factor
        yield Finding(
            "advice",
            f"data.batch_size={batch} would fit: {said}. Methods that compare images within a "
            "batch learn better from more of them; with optim.scale_lr the rate follows.",
        )


def on_precision(step: StepFigures, situation: Situation) -> Iterator[Finding]:
    """Judge the precision on this device."""
    whole = situation.precision.startswith("32")
    if step.on_gpu and whole:
        better = "bf16-mixed" if situation.takes_bf16 else "16-mixed"
        yield Finding(
            "advice",
            f"trainer.precision={better}: {step.device} multiplies matrices faster in 16 bits, and "
            "activations take half the memory. Losses stay in 32 bits.",
        )
    elif not step.on_gpu and not whole and not situation.precision.startswith("64"):
        yield Finding(
            "advice",
            f"Compare with trainer.precision=32-true: most CPUs have no 16-bit arithmetic, so "
            f"{situation.precision} converts back and forth; it is meant for GPUs.",
        )


# -------------------------------------------------------------------- the whole run


@dataclass(frozen=True)
class Length:
    """How long training takes; evaluation and callbacks are not counted.

    Attributes:
        epoch: Seconds of an epoch.
        total: Seconds of all.
        steps: Optimizer steps in all.
        per_epoch: Of an epoch.
    """

    epoch: float
    total: float
    steps: int
    per_epoch: int


def length(step: StepFigures, steps: int, per_epoch: int) -> Length:
    """Extrapolate a step to epochs and to the whole training."""
    epoch = per_epoch * step.step + step.before_epoch
    total = steps * step.step + step.before_epoch * math.ceil(steps / max(per_epoch, 1))
    return Length(epoch, total, steps, per_epoch)


def on_length(run: Length, step: StepFigures) -> Iterator[Finding]:
    """Judge how long training takes, and whether it is training at all."""
    if run.total > _LONG:
        device = "" if step.on_gpu else " or a GPU (this is a CPU)"
        yield Finding(
            "advice",
            f"Fewer trainer.max_epochs, a smaller backbone, smaller views, more devices{device}: "
            f"at {duration(step.step)} a step the whole takes {duration(run.total)}.",
        )
    if run.steps < _FEW_STEPS:
        yield Finding(
            "advice",
            f"More trainer.max_epochs or a smaller data.batch_size: {counted(run.steps, 'step')} "
            "in all is little. Published trainings take tens of thousands, also on small data "
            "(CIFAR-10: 195 steps an epoch, 200 to 1000 epochs).",
        )


def sort(findings: Sequence[Finding]) -> list[Finding]:
    """Put problems first, then advice, then notes; each kind in the order given."""
    order = ("problem", "advice", "note")
    return sorted(findings, key=lambda finding: order.index(finding.kind))
