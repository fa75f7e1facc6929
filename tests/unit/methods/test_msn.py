from __future__ import annotations

import pytest
import tiny
import torch
from ranks import run_ranks

from sslight import distributed as d
from sslight.backbones.pooling import pooled
from sslight.methods.msn import MSN
from sslight.modules.masking import mask_noise
from sslight.schedules import Clock

SIZES = {"hidden_dim": 16, "out_dim": 8, "num_prototypes": 6}


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(MSN, "clock", property(lambda self: Clock(0, 10, 5)))


def method(**options) -> MSN:
    torch.manual_seed(0)
    made = MSN(tiny.vit(), **{**SIZES, **options})
    made.seed = 3
    return made


def batch() -> dict:
    generator = torch.Generator().manual_seed(1)
    sizes = (16, 16, 16, 8, 8)
    views = [torch.randn(4, 3, size, size, generator=generator) for size in sizes]
    return {"views": views, "n_global": 3, "index": torch.tensor([7, 1, 5, 2])}


def test_global_anchors_lose_patches_and_focal_ones_do_not():
    msn, made, seen = method(mask_ratio=0.5), batch(), []
    msn.backbone.blocks[0].register_forward_hook(lambda m, i, o: seen.append(tuple(i[0].shape[:2])))
    large, focal = msn._anchors(made)
    assert seen == [(8, 1 + 8), (8, 1 + 4)]
    assert large.shape == focal.shape == (8, 32)


def test_which_patches_a_sample_loses_does_not_depend_on_its_batch():
    msn, made = method(mask_ratio=0.5), batch()
    whole = torch.cat(msn._anchors(made)).view(4, 4, -1)
    some = {**made, "views": [v[1:3] for v in made["views"]], "index": made["index"][1:3]}
    few = torch.cat(msn._anchors(some)).view(4, 2, -1)
    torch.testing.assert_close(few, whole[:, 1:3])
    noise = mask_noise(3, 0, made["index"], 2, 16)
    keep = noise.argsort(1)[:, :8]
    images = torch.cat(made["views"][1:3])
    torch.testing.assert_close(
        whole[:2].flatten(0, 1), pooled(msn.backbone, msn.backbone.tokens(images, keep=keep))
    )


def test_a_ratio_of_0_keeps_everything():
    msn, made = method(mask_ratio=0.0), batch()
    images = torch.cat(made["views"][1:3])
    torch.testing.assert_close(msn._anchors(made)[0], msn.backbone(images))


def test_the_head_sees_one_resolution_at_a_time():
    msn, made, seen = method(), batch(), []
    made["views"][3:] = [made["views"][3], made["views"][4][..., :4, :4]]
    msn.projector.register_forward_hook(lambda m, i, o: seen.append(len(i[0])))
    msn.training_loss(made)
    assert seen == [8, 4, 4]


def test_two_views_without_n_global_are_a_target_and_an_anchor():
    made = batch()
    two = {"views": made["views"][:2], "index": made["index"]}
    assert method().training_loss(two).loss.isfinite()
    with pytest.raises(ValueError, match=r"got 1 view; needs a target and one anchor"):
        method().training_loss({**two, "views": two["views"][:1]})


def test_embedding_is_the_evaluated_teachers_of_the_target():
    msn, made = method(), batch()
    with torch.no_grad():
        for parameter in msn.backbone.parameters():
            parameter.mul_(1.1)
    output = msn.training_loss(made)
    assert msn.eval_backbone is msn.teacher_backbone.teacher
    torch.testing.assert_close(output.embedding, msn.eval_backbone(made["views"][0]))
    assert set(output.logs) == {"cross_entropy", "me_max"}


def test_students_and_prototypes_learn_and_teachers_do_not():
    msn = method()
    msn.training_loss(batch()).loss.backward()
    for name, parameter in msn.named_parameters():
        assert (parameter.grad is None) == name.startswith("teacher_"), name
    assert msn.prototypes.weight.grad.abs().sum() > 0


def test_momentum_and_refusals():
    momentum = method().teacher_backbone.momentum
    assert momentum(Clock(0, 10, 5)) == 0.996
    assert momentum(Clock(10, 10, 5)) == 1.0
    with pytest.raises(ValueError, match=r"msn: mask_ratio is 1; it is a share in \[0, 1\)"):
        method(mask_ratio=1)


def me_max_of(part: slice) -> list[torch.Tensor]:
    """Of all ranks' anchors, then of one rank's own."""
    made = batch()
    made |= {"views": [view[part] for view in made["views"]], "index": made["index"][part]}
    MSN.clock = property(lambda self: Clock(0, 10, 5))  # on a rank no fixture does
    methods = [tiny.without_batch_norm(method(me_max_per_rank=local)) for local in (False, True)]
    return [msn.training_loss(made).logs["me_max"].detach() for msn in methods]


def on_rank() -> list[torch.Tensor]:
    return me_max_of(slice(2 * d.rank(), 2 * d.rank() + 2))


@pytest.mark.ranks
def test_me_max_is_that_of_all_ranks_or_of_one():
    whole, same = me_max_of(slice(None))
    assert torch.equal(whole, same)
    for rank, (gathered, own) in enumerate(run_ranks(2, on_rank)):
        torch.testing.assert_close(gathered, whole)
        torch.testing.assert_close(own, me_max_of(slice(2 * rank, 2 * rank + 2))[1])
        assert abs(own - whole) > 1e-3
