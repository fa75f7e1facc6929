"""iBOT's patch loss and centers against loops written from the paper, and against lightly."""

from __future__ import annotations

import pytest
import tiny
import torch
from torch import Tensor

from sslight.losses.dino import centered_softmax, dino_loss
from sslight.losses.ibot import masked_patch_loss
from sslight.methods.ibot import IBOT
from sslight.modules.center import Center
from sslight.modules.masked_tokens import masked_tokens
from sslight.schedules import Clock


def random(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


def random_masks(images: int, patches: int, seed: int = 0) -> Tensor:
    """Different numbers in each image; none in the first."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(images, patches, generator=generator) < 0.4
    mask[0] = False
    return mask


def probabilities(row: Tensor, temperature: float, center: Tensor | float = 0.0) -> list[Tensor]:
    powers = [torch.exp(value) for value in (row - center) / temperature]
    return [power / sum(powers) for power in powers]


def oracle(
    student: Tensor, teacher: Tensor, mask: Tensor, center: Tensor, t_s: float, t_t: float
) -> Tensor:
    """Equation 2 patch by patch; images of all crops ``[GB, P, K]`` have the same weight."""
    images = []
    for i in range(len(mask)):
        terms = []
        for p in range(mask.shape[1]):
            if mask[i, p]:
                target = probabilities(teacher[i, p].detach(), t_t, center)
                guess = probabilities(student[i, p], t_s)
                terms.append(-sum(a * torch.log(b) for a, b in zip(target, guess, strict=True)))
        images.append(sum(terms) / max(len(terms), 1))
    return sum(images) / len(images)


def patch_loss(
    student: Tensor,
    teacher: Tensor,
    mask: Tensor,
    center: Tensor,
    t_s: float,
    t_t: float,
    count: int | None = None,
) -> Tensor:
    masked = masked_tokens(mask, count)
    targets = centered_softmax(masked.of(teacher), center, t_t)
    return masked_patch_loss(masked.of(student), targets, masked.in_image, masked.images, t_s)


@pytest.mark.parametrize(("images", "patches"), [(1, 4), (2, 5), (6, 9)])
@pytest.mark.parametrize(("t_s", "t_t"), [(0.1, 0.04), (0.5, 0.3)])
@pytest.mark.parametrize("counted", [True, False])
def test_value_and_gradient_equal_the_loops(images, patches, t_s, t_t, counted):
    student, teacher = random(images, patches, 5), random(images, patches, 5, seed=1)
    mask = random_masks(images, patches)
    mask[-1, 0] = True
    center = torch.linspace(-0.2, 0.2, 5, dtype=torch.float64)
    count = int(mask.sum()) if counted else None
    loss = patch_loss(student, teacher, mask, center, t_s, t_t, count)
    expected = oracle(student, teacher, mask, center, t_s, t_t)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-11)
    (mine,), (theirs,) = (torch.autograd.grad(value, student) for value in (loss, expected))
    torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-11)


def test_a_mean_over_all_masked_patches_is_another_loss():
    student, teacher = random(6, 9, 5), random(6, 9, 5, seed=1)
    mask, center = random_masks(6, 9), torch.zeros(5, dtype=torch.float64)
    masked = masked_tokens(mask, int(mask.sum()))
    targets = centered_softmax(masked.of(teacher), center, 0.1)
    count = len(masked.places)
    pooled = masked_patch_loss(
        masked.of(student), targets, torch.full_like(masked.in_image, count), 1
    )
    assert abs(pooled - patch_loss(student, teacher, mask, center, 0.1, 0.1)) > 1e-2


def test_without_a_masked_patch_it_is_zero_and_has_a_gradient_of_zeros():
    student, teacher, center = random(2, 4, 5), random(2, 4, 5), torch.zeros(5)
    mask = torch.zeros(2, 4, dtype=torch.bool)
    for count in (0, None):
        loss = patch_loss(student, teacher, mask, center, 0.1, 0.04, count)
        assert loss.item() == 0
        assert not torch.autograd.grad(loss, student)[0].any()


def test_agrees_with_lightly():
    """Value and gradient; lightly's center is the mean over *masked* tokens, as DINOv2's."""
    lightly = pytest.importorskip("lightly.loss.ibot_loss")
    theirs, center = lightly.IBOTPatchLoss(5, center_momentum=0.8).double(), Center(5, 0.8).double()
    for step in range(3):
        student, teacher = random(4, 9, 5, seed=step), random(4, 9, 5, seed=step + 50)
        mask = random_masks(4, 9, seed=step)
        loss = patch_loss(student, teacher, mask, center.value, 0.1, 0.07, int(mask.sum()))
        seen = teacher[mask].detach()
        expected = theirs(seen, student[mask], mask.view(4, 3, 3), teacher_temp=0.07)
        center.update(seen)
        # lightly makes a float32 tensor of the temperature.
        assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
        torch.testing.assert_close(center.value, theirs.center.value[0], rtol=1e-6, atol=1e-9)
        (mine,), (other,) = (torch.autograd.grad(value, student) for value in (loss, expected))
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("shared", [True, False])
def test_the_method_is_both_losses_over_several_steps(shared, monkeypatch):
    """Class tokens across crops, patches within them; both centers of all of the teacher's rows."""
    monkeypatch.setattr(IBOT, "clock", Clock(step=0, total=100, per_epoch=5))
    torch.manual_seed(0)
    method = IBOT(
        tiny.vit(),
        hidden_dim=12,
        bottleneck_dim=6,
        out_dim=7,
        shared_head=shared,
        teacher_temperature=0.05,
        patch_temperature=0.06,
        cls_weight=0.7,
        patch_weight=1.3,
    ).double()
    center = patch_center = torch.zeros(7, dtype=torch.float64)
    heads, teacher_heads = method.heads, method.teacher_heads.teacher
    for step in range(3):
        crops = [random(3, 3, s, s, seed=10 * step + k) for k, s in enumerate((16, 16, 8))]
        masks = list(random_masks(6, 16, seed=step).chunk(2))
        tokens = [
            *(method.backbone.tokens(x, mask=m) for x, m in zip(crops, masks, strict=False)),
            method.backbone.tokens(crops[2]),
        ]
        seen = [method.eval_backbone.tokens(x) for x in crops[:2]]
        logits = [teacher_heads.cls(x[:, 0]) for x in seen]
        patch_head = teacher_heads.cls if shared else teacher_heads.patch
        patch_logits = torch.cat([patch_head(x[:, 1:]) for x in seen])
        cls_loss = dino_loss(
            [heads.cls(x[:, 0]) for x in tokens],
            [centered_softmax(x, center, 0.05) for x in logits],
        )
        student_head = heads.cls if shared else heads.patch
        expected = oracle(
            torch.cat([student_head(x[:, 1:]) for x in tokens[:2]]),
            patch_logits,
            torch.cat(masks),
            patch_center,
            0.1,
            0.06,
        )
        output = method.training_loss({"views": crops, "masks": masks, "n_global": 2})
        whole = 0.7 * cls_loss + 1.3 * expected
        assert output.loss.item() == pytest.approx(whole.item(), rel=1e-11)
        center = 0.9 * center + 0.1 * torch.cat(logits).mean(0)
        patch_center = 0.9 * patch_center + 0.1 * patch_logits.mean((0, 1))
        torch.testing.assert_close(method.center.value, center.detach())
        torch.testing.assert_close(method.patch_center.value, patch_center.detach())
