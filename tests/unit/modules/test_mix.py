from __future__ import annotations

import pytest
import torch

from sslight.modules.mix import (
    Mix,
    Mixed,
    beta,
    boxes,
    mixed_classes,
    mixed_labels,
    mixed_targets,
    partners,
)


def images(batch: int = 6) -> torch.Tensor:
    return torch.rand(batch, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def mix(batch: int = 6, *, index: torch.Tensor | None = None, epoch: int = 0, **options):
    index = torch.arange(batch) if index is None else index
    return Mix(**options)(images(batch), index, seed=3, epoch=epoch)


def test_mixup_is_a_weighted_sum_with_the_partner():
    x, out = images(), mix(mixup=0.4)
    share = out.share[:, None, None, None]
    torch.testing.assert_close(
        out.images, (share * x + (1 - share) * x[out.partner]).float(), rtol=1e-5, atol=1e-6
    )
    assert out.share.unique().numel() == 6
    assert ((out.share > 0) & (out.share < 1)).all()


def test_cutmix_pastes_a_box_and_share_is_its_area():
    x, out = images(), mix(cutmix=1.0)
    own = (out.images == x).all(1)
    pasted = (out.images == x[out.partner]).all(1)
    assert (own | pasted).all()
    torch.testing.assert_close(own.float().mean((1, 2)), out.share.float())
    assert out.share.unique().numel() > 1


def test_both_kinds_appear_when_both_are_on():
    x, out = images(64), mix(64, mixup=1.0, cutmix=1.0)
    cut = ((out.images == x) | (out.images == x[out.partner])).all((1, 2, 3))
    assert 10 < cut.sum() < 54


def test_off_and_prob_zero_leave_images_alone():
    for options in ({}, {"mixup": 1.0, "prob": 0.0}):
        out = mix(**options)
        assert torch.equal(out.images, images())
        assert (out.share == 1).all()


def test_draws_depend_on_the_image_and_the_epoch_not_on_the_batch():
    index = torch.tensor([7, 3, 9, 1, 5, 2])
    whole = mix(index=index, mixup=0.4)
    part = Mix(0.4)(images()[2:4], index[2:4], seed=3, epoch=0)
    assert torch.equal(whole.images[2:4], part.images)
    assert torch.equal(whole.share[2:4], part.share)
    assert not torch.equal(mix(index=index, mixup=0.4, epoch=1).share, whole.share)


def test_partners_are_neighbours_and_the_odd_row_stays():
    assert partners(6).tolist() == [1, 0, 3, 2, 5, 4]
    assert partners(5).tolist() == [1, 0, 3, 2, 4]
    out = mix(5, mixup=1.0)
    assert out.share[4] == 1
    assert torch.equal(out.images[4], images(5)[4])


@pytest.mark.parametrize("alpha", [0.2, 1.0, 8.0])
def test_beta_has_the_moments_of_its_distribution(alpha):
    x = beta((torch.arange(20000, dtype=torch.float64) + 0.5) / 20000, alpha)
    wanted = torch.distributions.Beta(alpha, alpha)
    assert x.mean().item() == pytest.approx(0.5, abs=1e-6)
    assert x.var().item() == pytest.approx(wanted.variance.item(), rel=2e-3)
    fourth = (x - 0.5).pow(4).mean().item()
    kurtosis = 3 - 6 / (2 * alpha + 3)
    assert fourth == pytest.approx(kurtosis * wanted.variance.item() ** 2, rel=5e-3)
    assert (x.diff() >= 0).all()


def test_beta_of_one_is_uniform():
    u = torch.rand(100, dtype=torch.float64)
    torch.testing.assert_close(beta(u, 1.0), u)


def test_boxes_have_the_area_asked_for_in_the_middle():
    box = boxes(torch.tensor([0.75, 1.0, 0.0]), torch.full((3,), 0.5), torch.full((3,), 0.5), 8, 8)
    assert box.float().mean((1, 2)).tolist() == [0.25, 0.0, 1.0]


def test_class_targets():
    mixed = Mixed(images(4), torch.tensor([0.75, 0.5, 1.0, 0.3]), torch.tensor([1, 0, 3, 2]))
    target = mixed_classes(torch.tensor([0, 2, 1, -1]), mixed, 3)
    assert target[0].tolist() == [0.75, 0, 0.25]
    assert target[1].tolist() == [0.5, 0, 0.5]
    assert target[2].tolist() == [0, 1, 0]
    assert target[3].tolist() == [-1, -1, -1]


def test_multi_label_targets_keep_unknown_entries_unknown():
    mixed = Mixed(images(2), torch.tensor([0.75, 1.0]), torch.tensor([1, 0]))
    target = mixed_labels(torch.tensor([[1, 0, -1], [0, -1, 1]]), mixed)
    assert target.tolist() == [[0.75, -1, -1], [0, -1, 1]]


def test_targets_are_mixed_by_what_they_are():
    mixed = Mixed(images(2), torch.tensor([0.75, 0.5]), torch.tensor([1, 0]))
    ids, entries = torch.tensor([0, 2]), torch.tensor([[1, 0, 1], [0, 1, -1]])
    assert torch.equal(mixed_targets(ids, mixed, 3), mixed_classes(ids, mixed, 3))
    assert torch.equal(mixed_targets(entries, mixed, 3), mixed_labels(entries, mixed))


def test_it_says_whether_it_mixes():
    assert not Mix().mixes
    assert Mix(0.2).mixes
    assert Mix(cutmix=1).mixes


def test_refuses_bad_arguments():
    with pytest.raises(ValueError, match="alphas must be 0 or more"):
        Mix(-1)
    with pytest.raises(ValueError, match="prob is 2"):
        Mix(1, prob=2)
