"""Retrieval against loops over queries and images, scikit-learn and torchmetrics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torchmetrics.functional.retrieval import retrieval_average_precision, retrieval_precision

from sslight.eval import _descriptors as d
from sslight.eval._ranking import measured, micro_precision, query_blocks, ranked
from sslight.eval._truth import HARD, JUNK, POSITIVE, Setting

EASY = Setting((POSITIVE,), (JUNK, HARD))
MEDIUM = Setting((POSITIVE, HARD), (JUNK,))
HARDEST = Setting((HARD,), (JUNK, POSITIVE))


def rankings(seed: int = 0, queries: int = 30, images: int = 40) -> torch.Tensor:
    draw = np.random.default_rng(seed)
    return torch.from_numpy(draw.choice(4, (queries, images), p=[0.7, 0.1, 0.1, 0.1]))


def trapezoid_by_hand(codes: list[int], setting: Setting) -> float:
    """Section 3.3 of the paper and its Oxford rule, an image at a time."""
    answers = sum(code in setting.positive for code in codes)
    if not answers:
        return math.nan
    seen = hits = 0
    area = 0.0
    for code in codes:
        if code in setting.junk:
            continue
        if code in setting.positive:
            before = hits / seen if seen else 1.0
            hits += 1
            area += (before + hits / (seen + 1)) / 2 / answers
        seen += 1
    return area


def precision_by_hand(codes: list[int], setting: Setting, k: int) -> float:
    left = [code in setting.positive for code in codes if code not in setting.junk]
    if not any(left):
        return math.nan
    last = max(i for i, right in enumerate(left) if right) + 1
    depth = min(k, last)
    return sum(left[:depth]) / depth


@pytest.mark.parametrize("setting", [EASY, MEDIUM, HARDEST])
def test_landmarks_equal_the_loop_with_junk(setting):
    codes = rankings()
    found = measured(codes, setting, [1, 5, 10], trapezoid=True)
    expected = [trapezoid_by_hand(row, setting) for row in codes.tolist()]
    np.testing.assert_allclose(found["map"].numpy(), expected, rtol=1e-12)
    for k in (1, 5, 10):
        by_hand = [precision_by_hand(row, setting, k) for row in codes.tolist()]
        np.testing.assert_allclose(found[f"mp{k}"].numpy(), by_hand, rtol=1e-12)


def test_junk_matters():
    """The mutant that leaves junk in the ranking is seen."""
    codes = rankings()
    kept = measured(codes, Setting((POSITIVE,), (99,)), [1], trapezoid=True)["map"]
    assert not torch.allclose(kept, measured(codes, EASY, [1], trapezoid=True)["map"])


def test_same_class_is_torchmetrics():
    codes = (rankings() == POSITIVE).to(torch.uint8)
    found = measured(codes, Setting(), [1, 5], trapezoid=False)
    order = torch.arange(codes.shape[1], 0, -1).double()  # it drops scores of 0 and below
    for row, precision, at_five in zip(codes, found["map"], found["mp5"], strict=True):
        if not row.any():
            assert precision.isnan()
            continue
        torch.testing.assert_close(
            precision.float(), retrieval_average_precision(order, row.long())
        )
        torch.testing.assert_close(at_five.float(), retrieval_precision(order, row.long(), top_k=5))


def test_micro_precision_is_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics")
    draw = np.random.default_rng(0)
    scores, right = draw.normal(size=200) * 50, draw.random(200) < 0.2
    expected = metrics.average_precision_score(right, scores)
    found = micro_precision(torch.from_numpy(scores), torch.from_numpy(right), int(right.sum()))
    assert found == pytest.approx(expected, rel=1e-5)
    twice = micro_precision(torch.from_numpy(scores), torch.from_numpy(right), 2 * right.sum())
    assert twice == pytest.approx(expected / 2, rel=1e-5)


def test_the_ranking_is_by_cosine_and_ties_keep_the_database_s_order():
    draw = np.random.default_rng(0)
    x = draw.normal(size=(5, 8)).astype(np.float32)
    y = np.concatenate([x[[2]], draw.normal(size=(20, 8)), x[[2]]]).astype(np.float32)
    x, y = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, y))
    names = torch.arange(22, dtype=torch.uint8).expand(5, -1)
    similarity, order = ranked(x, y, names, "cpu")
    for query, values, places in zip(x, similarity, order, strict=True):
        expected = np.argsort(-(y @ query), kind="stable")
        np.testing.assert_array_equal(places.numpy(), expected)
        np.testing.assert_allclose(values.numpy(), (y @ query)[expected], rtol=1e-5, atol=1e-6)
    assert order[2, :2].tolist() == [0, 21]


def test_blocks_of_queries_cover_them_and_stay_small():
    parts = query_blocks(10, 1000, memory=64 * 1000 * 3)
    assert [(p.start, p.stop) for p in parts] == [(0, 3), (3, 6), (6, 9), (9, 10)]
    assert query_blocks(2, 10**9, memory=1) == [slice(0, 1), slice(1, 2)]


# ------------------------------------------------------------------ descriptors


def regions_by_hand(height, width, levels):
    """Tolias et al., section 3.2, as a loop over region centres."""
    short = min(height, width)
    best, extra = math.inf, 0
    for count in range(1, 7):
        gap = (max(height, width) - short) / count
        miss = abs((short * short - short * gap) / (short * short) - 0.4)
        if height != width and miss < best:
            best, extra = miss, count
    found = []
    for level in range(1, levels + 1):
        side = math.floor(2 * short / (level + 1))
        down = level + (extra if height > width else 0)
        across = level + (extra if width > height else 0)
        for i in range(down):
            for j in range(across):
                top = i * (height - side) / (down - 1) if down > 1 else 0
                left = j * (width - side) / (across - 1) if across > 1 else 0
                found.append((int(top), int(left), side))
    return found


@pytest.mark.parametrize(("height", "width"), [(7, 7), (12, 16), (32, 24), (5, 23)])
def test_rmac_s_regions(height, width):
    regions = d.rmac_regions(height, width, 3)
    assert regions == regions_by_hand(height, width, 3)
    assert all(y + s <= height and x + s <= width for y, x, s in regions)
    if height == width:
        assert len(regions) == 1 + 4 + 9


def test_rmac_and_gem_equal_loops():
    features = torch.randn(3, 4, 6, 9, generator=torch.Generator().manual_seed(0))
    whitening = d.learn_whitening(lambda: [torch.randn(50, 4)])
    rmac = d.combined(d.regional(features, "rmac"), whitening)
    gem = d.regional(features, "gem", power=4.0)[:, 0]
    for image, one, other in zip(features.double(), rmac, gem, strict=True):
        total = torch.zeros(4, dtype=torch.float64)
        for y, x, s in d.rmac_regions(6, 9, 3):
            vector = torch.stack([c[y : y + s, x : x + s].max() for c in image])
            vector = (vector / vector.norm() - whitening.mean) @ whitening.projection
            total += vector / vector.norm()
        torch.testing.assert_close(one.double(), total / total.norm(), rtol=1e-4, atol=1e-5)
        mean = torch.stack([(c.clamp(min=1e-6) ** 4).mean() ** 0.25 for c in image])
        torch.testing.assert_close(other.double(), mean / mean.norm(), rtol=1e-5, atol=1e-6)


def test_whitening_is_scikit_learns_up_to_signs():
    decomposition = pytest.importorskip("sklearn.decomposition")
    draw = np.random.default_rng(0)
    x = draw.normal(size=(300, 6)) @ draw.normal(size=(6, 6)) + 3
    blocks = [torch.from_numpy(part) for part in np.array_split(x, 4)]
    ours = d.learn_whitening(lambda: blocks, 4)(torch.from_numpy(x)).numpy()
    theirs = decomposition.PCA(4, whiten=True).fit_transform(x)
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), rtol=1e-6, atol=1e-8)


def test_small_variances_are_raised_to_the_floor():
    x = torch.randn(200, 3) * torch.tensor([1.0, 0.1, 1e-9])
    white = d.learn_whitening(lambda: [x], floor=1e-5)(x)
    assert float(white[:, 2].abs().max()) < 1e-4
    assert white.isfinite().all()
