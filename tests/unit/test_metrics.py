import math

import pytest
import torch

from sslight import metrics


@pytest.fixture
def features():
    return torch.randn(60, 16, generator=torch.Generator().manual_seed(0)) * 3 + 0.5


def entropy_rank(values):
    shares = [v / sum(values) for v in values]
    return math.exp(-sum(p * math.log(p) for p in shares if p > 0))


def test_feature_std_equals_a_loop(features):
    rows = [row / row.norm() for row in features.double()]
    deviations = [torch.stack([r[d] for r in rows]).std(unbiased=False) for d in range(16)]
    expected = sum(deviations) / 16 * 4
    assert metrics.feature_std(features).item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("width", [32, 512])
def test_feature_std_is_one_when_spread_and_zero_when_equal(width):
    spread = torch.randn(4000, width, generator=torch.Generator().manual_seed(1))
    assert metrics.feature_std(spread).item() == pytest.approx(1, abs=0.01)
    assert metrics.feature_std(torch.rand(1, width).expand(100, -1)).item() == 0


@pytest.mark.parametrize("shape", [(60, 16), (10, 16), (16, 16)])
@pytest.mark.parametrize("center", [True, False])
def test_effective_rank_equals_the_definition(features, shape, center):
    rows = features[: shape[0], : shape[1]].double()
    values = torch.linalg.svdvals(rows - rows.mean(0) if center else rows)
    expected = entropy_rank([v for v in values.tolist() if v > 1e-9])
    assert metrics.effective_rank(rows, center=center).item() == pytest.approx(expected, rel=1e-6)


def test_effective_rank_of_known_matrices():
    line = torch.randn(50, 1) @ torch.randn(1, 8)
    assert metrics.effective_rank(line).item() == pytest.approx(1)
    basis = torch.eye(8).repeat(5, 1)
    assert metrics.effective_rank(basis, center=False).item() == pytest.approx(8)
    assert metrics.effective_rank(basis, center=True).item() == pytest.approx(7)
    assert metrics.effective_rank(torch.rand(1, 8).expand(50, -1)).item() == 0


def test_rankme_equals_the_paper(features):
    values = torch.linalg.svdvals(features.double())
    share = values / values.sum() + 1e-7
    expected = torch.exp(-(share * share.log()).sum())
    assert metrics.rankme(features).item() == pytest.approx(expected.item(), rel=1e-9)


@pytest.mark.parametrize("block", [7, 60, 1024])
def test_uniformity_equals_a_loop_over_pairs(features, block):
    rows = [row / row.norm() for row in features.double()]
    pairs = [
        math.exp(-2 * float((rows[i] - rows[j]).square().sum()))
        for i in range(60)
        for j in range(i + 1, 60)
    ]
    expected = math.log(sum(pairs) / len(pairs))
    assert metrics.uniformity(features, block=block).item() == pytest.approx(expected, rel=1e-6)


def test_blocks_do_not_change_a_value(features, monkeypatch):
    measures = (metrics.feature_std, metrics.effective_rank, metrics.rankme)
    whole = [measure(features).item() for measure in measures]
    monkeypatch.setattr(metrics, "BLOCK", 7)
    assert [measure(features).item() for measure in measures] == pytest.approx(whole, rel=1e-12)


def test_a_large_common_offset_does_not_blur_the_spread():
    small = torch.randn(500, 8, generator=torch.Generator().manual_seed(2)) * 1e-3
    shifted = metrics.effective_rank(small.double() + 1000)
    assert shifted.item() == pytest.approx(metrics.effective_rank(small).item(), rel=1e-3)


@pytest.mark.parametrize(
    "bad",
    [torch.rand(4), torch.rand(1, 4), torch.ones(4, 4, dtype=torch.int64), torch.rand(2, 3, 4)],
)
def test_wrong_shapes_are_named(bad):
    with pytest.raises(ValueError, match=r"\[N, D\] with N >= 2, got"):
        metrics.rankme(bad)
