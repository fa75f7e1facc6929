"""From figures to words: is it learning, collapsing, waiting for data, trained for too short?

Pure functions of :class:`Evidence`. Every finding carries the figures it rests on, so that a reader
can disagree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from sslight.eval._statistics import interval

#: Below these the embeddings hardly tell images apart; the defaults of ``callbacks.collapse``.
MIN_SPREAD, MIN_RANK = 0.1, 2.0
#: Share of a step spent waiting for data from which waiting is worth working on.
MUCH_WAIT = 0.3
#: Logged losses from which a trend can be told from noise.
ENOUGH = 6

Tone = Literal["good", "warn", "bad", "plain"]


@dataclass(frozen=True)
class Evidence:
    """What a verdict is made from; empty where nothing was logged.

    Attributes:
        step: Finished optimizer steps.
        total: Steps that were asked for; None where unknown.
        loss: Logged training losses, NaN for one that is not finite.
        spread: ``collapse/std``.
        rank: ``collapse/rank``.
        accuracy: Accuracies in [0, 1] of frozen features, oldest first.
        accuracy_name: What was measured, in words.
        images: Images that each accuracy is over; None where unknown.
        chance: Accuracy of always naming the commonest class; None without labels.
        wait: Shares of a step spent waiting for data.
    """

    step: int = 0
    total: int | None = None
    loss: Sequence[float] = ()
    spread: Sequence[float] = ()
    rank: Sequence[float] = ()
    accuracy: Sequence[float] = ()
    accuracy_name: str = "accuracy"
    images: int | None = None
    chance: float | None = None
    wait: Sequence[float] = ()


@dataclass(frozen=True)
class Finding:
    """One judgement.

    Attributes:
        word: In a word or two.
        tone: How good that is.
        sentence: What it means and what to do.
        evidence: The figures behind it.
    """

    word: str
    tone: Tone
    sentence: str
    evidence: list[str] = field(default_factory=list)


def judge(seen: Evidence) -> list[Finding]:
    """Every finding, the most important one first."""
    headline = diverged(seen) or collapsing(seen) or learning(seen)
    others = [unfinished(seen), under_trained(seen), data_bound(seen)]
    return [headline, *(finding for finding in others if finding is not None)]


def diverged(seen: Evidence) -> Finding | None:
    """The newest losses are not finite."""
    newest = list(seen.loss[-3:])
    if not newest or all(map(math.isfinite, newest)):
        return None
    bad = sum(not math.isfinite(value) for value in seen.loss)
    return Finding(
        "diverged", "bad",
        "The loss is no longer a number, so the weights are of no use. A lower optim.lr, a longer "
        "optim.warmup_epochs or trainer.gradient_clip_val usually helps; in half precision also "
        "trainer.precision=bf16-mixed. Go on from a checkpoint before it happened.",
        [f"{bad} of {len(seen.loss)} logged losses are not finite, the last ones among them"],
    )  # fmt: skip


def collapsing(seen: Evidence) -> Finding | None:
    """Embeddings of different images are nearly equal, or lie on a line."""
    spread, rank = _newest(seen.spread), _newest(seen.rank)
    if len(seen.spread) < 2 or spread is None:
        return None
    if spread >= MIN_SPREAD and (rank is None or rank >= MIN_RANK):
        return None
    evidence = [f"spread {spread:.3f} of 1 (below {MIN_SPREAD} is a collapse)"]
    if rank is not None:
        evidence.append(f"effective rank {rank:.1f} (below {MIN_RANK:g} is a line)")
    return Finding(
        "collapsing", "bad",
        "Different images get nearly the same features, so these say little. What usually helps: a "
        "lower optim.lr or longer optim.warmup_epochs, the loss's temperature, batch norm in the "
        "head, and for teachers an EMA momentum nearer to 1.",
        [*evidence, *_accuracy_words(seen)],
    )  # fmt: skip


def learning(seen: Evidence) -> Finding:
    """Whether the features get better: by their accuracy if it was measured, else by the loss."""
    fell = _fall(seen.loss)
    evidence = [*_accuracy_words(seen), *_loss_words(seen, fell), *_spread_words(seen)]
    if len(seen.accuracy) == 0:
        return _by_loss(seen, fell, evidence)
    low, _ = bounds(seen.accuracy[-1], seen.images)
    above = seen.chance is None or low > seen.chance
    rose = len(seen.accuracy) > 1 and _rose(seen.accuracy[0], seen.accuracy[-1], seen.images)
    if above and (rose or (len(seen.accuracy) == 1 and fell)):
        sentence = "The features tell the classes apart, and better than at first."
        if not rose:
            sentence = (
                "The loss falls and the features tell the classes apart. They were measured once, "
                "so whether they got better is not known: a smaller callbacks.knn.every_n_epochs "
                "would show it."
            )
        return Finding("learning", "good", sentence, evidence)
    if above:
        return Finding(
            "not improving", "warn",
            "The features tell classes apart, but not clearly better than at first, and an "
            "untrained network is above chance too. Look at the views (is what matters still in "
            "them?), the learning rate and the length of training.",
            evidence,
        )  # fmt: skip
    return Finding(
        "not learning", "bad",
        "The features do no better than chance. Look at the views, the learning rate, and whether "
        "the labels are right.",
        evidence,
    )  # fmt: skip


def _by_loss(seen: Evidence, fell: bool | None, evidence: list[str]) -> Finding:
    if fell is None:
        return Finding(
            "too early to tell", "plain",
            "Too little was logged for a judgement: train on, or lower trainer.log_every_n_steps.",
            evidence,
        )  # fmt: skip
    weak = (
        "A loss alone says little about features: with labelled test images, callbacks.knn would."
    )
    if fell:
        return Finding("learning", "good", f"The loss falls. {weak}", evidence)
    return Finding("not improving", "warn", f"The loss does not fall. {weak}", evidence)


def unfinished(seen: Evidence) -> Finding | None:
    """The run has not come to its end."""
    if seen.total is None or seen.step >= seen.total:
        return None
    return Finding(
        "unfinished", "plain",
        "The same command goes on from the last checkpoint.",
        [f"step {seen.step:,} of {seen.total:,}"],
    )  # fmt: skip


def under_trained(seen: Evidence) -> Finding | None:
    """Accuracy was still rising over the last quarter, by more than chance would explain."""
    values = list(seen.accuracy)
    if len(values) < 3 or values[-1] < max(values):
        return None
    before = values[-1 - max(1, len(values) // 4)]
    low, high = bounds(values[-1], seen.images)
    if values[-1] - before <= (high - low) / 2:
        return None
    return Finding(
        "under-trained", "warn",
        "Accuracy was still rising when training ended: a longer trainer.max_epochs (as a new run, "
        "so that the learning rate's schedule fits it) should give better features.",
        [f"{seen.accuracy_name} {_percent(before)} → {_percent(values[-1])} in the last quarter, "
         "its best value at the very end"],
    )  # fmt: skip


def data_bound(seen: Evidence) -> Finding | None:
    """The network waits for images during much of each step."""
    later = [share for share in seen.wait[len(seen.wait) // 2 :] if math.isfinite(share)]
    if not later or (share := float(np.median(later))) < MUCH_WAIT:
        return None
    return Finding(
        "data-bound", "warn",
        "Training waits for images. More data.workers, smaller or pre-sized files, or a faster "
        "disk would make it faster; on a CPU the waiting includes the augmentation.",
        [f"{_percent(share)} of a step is waiting (median of the run's second half)"],
    )  # fmt: skip


def bounds(share: float, images: int | None) -> tuple[float, float]:
    """The 95 % interval of a share of ``images``; of zero width where their number is unknown."""
    return interval(share, images) if images else (share, share)


# -------------------------------------------------------------------- words and trends


def _rose(first: float, last: float, images: int | None) -> bool:
    """Whether a share rose by more than both measurements' 95 % errors together."""
    (a, b), (c, d) = bounds(first, images), bounds(last, images)
    return last - first > math.hypot(b - a, d - c) / 2


def _fall(loss: Sequence[float]) -> bool | None:
    """Whether the loss fell, by more than it scatters; None with too few values."""
    values = np.array([value for value in loss if math.isfinite(value)])
    if len(values) < ENOUGH:
        return None
    third = len(values) // 3
    first, last = values[:third], values[-third:]
    scatter = np.abs(np.diff(values)).mean() / math.sqrt(third)
    return bool(np.median(first) - np.median(last) > 2 * scatter)


def _newest(values: Sequence[float]) -> float | None:
    finite = [value for value in values if math.isfinite(value)]
    return float(np.median(finite[-3:])) if finite else None


def _accuracy_words(seen: Evidence) -> list[str]:
    if len(seen.accuracy) == 0:
        return []
    low, high = bounds(seen.accuracy[-1], seen.images)
    text = f"{seen.accuracy_name} {_percent(seen.accuracy[-1])}"
    text += f" (95 % interval {_percent(low)} to {_percent(high)})" if high > low else ""
    text += f", at first {_percent(seen.accuracy[0])}" if len(seen.accuracy) > 1 else ""
    return [text + (f"; by chance {_percent(seen.chance)}" if seen.chance is not None else "")]


def _loss_words(seen: Evidence, fell: bool | None) -> list[str]:
    values = [value for value in seen.loss if math.isfinite(value)]
    if not values:
        return []
    trend = {True: "fell", False: "did not fall beyond its scatter", None: "few values"}[fell]
    return [f"loss {values[0]:.4g} → {values[-1]:.4g} ({trend})"]


def _spread_words(seen: Evidence) -> list[str]:
    spread, rank = _newest(seen.spread), _newest(seen.rank)
    if spread is None:
        return []
    text = f"spread of the embeddings {spread:.2f} of 1"
    return [text + (f", effective rank {rank:.0f}" if rank is not None else "")]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
