from __future__ import annotations

import math

import pytest

from sslight.reports.verdict import Evidence, judge

FALLING = [5.0 - 0.1 * i for i in range(20)]
FLAT = [4.0 + 0.05 * (-1) ** i for i in range(20)]


def words(seen: Evidence) -> list[str]:
    return [finding.word for finding in judge(seen)]


@pytest.mark.parametrize(
    ("seen", "first"),
    [
        (Evidence(), "too early to tell"),
        (Evidence(loss=FALLING[:3]), "too early to tell"),
        (Evidence(loss=FALLING), "learning"),
        (Evidence(loss=FLAT), "not improving"),
        (Evidence(loss=[*FALLING, math.nan]), "diverged"),
        (Evidence(loss=FALLING, spread=[0.7, 0.04, 0.03, 0.03]), "collapsing"),
        (Evidence(loss=FALLING, spread=[0.7] * 4, rank=[30, 1.2, 1.1, 1.1]), "collapsing"),
        (Evidence(loss=FALLING, spread=[0.7] * 4, rank=[30.0] * 4), "learning"),
        (Evidence(accuracy=[0.2, 0.6], images=1000, chance=0.1), "learning"),
        (Evidence(accuracy=[0.60, 0.61], images=1000, chance=0.1), "not improving"),
        (Evidence(accuracy=[0.10, 0.11], images=1000, chance=0.1), "not learning"),
        (Evidence(loss=FALLING, accuracy=[0.5], images=1000, chance=0.1), "learning"),
        (Evidence(loss=FLAT, accuracy=[0.5], images=1000, chance=0.1), "not improving"),
    ],
)
def test_the_headline(seen, first):
    assert words(seen)[0] == first


def test_few_images_prove_little():
    """The same rise is a proof over 1000 images and none over 20."""
    assert words(Evidence(accuracy=[0.3, 0.45], images=1000, chance=0.1))[0] == "learning"
    assert words(Evidence(accuracy=[0.3, 0.45], images=20, chance=0.1))[0] != "learning"


def test_waiting_for_data():
    assert "data-bound" in words(Evidence(wait=[0.0, 0.1, 0.5, 0.6]))
    assert "data-bound" not in words(Evidence(wait=[0.9, 0.9, 0.1, 0.1]))  # only at the start


def test_still_rising_at_the_end_is_under_trained():
    rising, level = [0.2, 0.4, 0.5, 0.6], [0.2, 0.5, 0.6, 0.605]
    assert "under-trained" in words(Evidence(accuracy=rising, images=1000, chance=0.1))
    assert "under-trained" not in words(Evidence(accuracy=level, images=1000, chance=0.1))
    assert "under-trained" not in words(Evidence(accuracy=rising, images=30, chance=0.1))


def test_a_run_that_was_stopped():
    assert "unfinished" in words(Evidence(step=50, total=100))
    assert "unfinished" not in words(Evidence(step=100, total=100))


def test_findings_say_what_they_rest_on():
    seen = Evidence(
        loss=FALLING, accuracy=[0.2, 0.62], accuracy_name="kNN accuracy", images=1000, chance=0.1
    )
    (first, *_) = judge(seen)
    assert first.evidence[0].startswith("kNN accuracy 62.0 % (95 % interval 59.0 % to 65.0 %)")
    assert "by chance 10.0 %" in first.evidence[0]
    assert "loss 5 → 3.1 (fell)" in first.evidence
