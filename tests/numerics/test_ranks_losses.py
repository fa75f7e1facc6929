"""Losses on 2 and 4 ranks equal one process with the whole batch, in value and gradient."""

from __future__ import annotations

import pytest
import torch
from ranks import run_ranks
from torch import nn

from sslight import distributed as d
from sslight.losses.barlow_twins import barlow_twins_loss
from sslight.losses.byol import byol_loss
from sslight.losses.classification import cross_entropy, multilabel_bce
from sslight.losses.koleo import koleo
from sslight.losses.lejepa import lejepa_loss
from sslight.losses.mae import mae_loss
from sslight.losses.nt_xent import nt_xent, nt_xent_multiview
from sslight.losses.simmim import simmim_loss
from sslight.losses.simsiam import simsiam_loss
from sslight.losses.vicreg import vicreg_loss

pytestmark = pytest.mark.ranks
BATCH = 8


def data() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    views = torch.randn(3, BATCH, 5, generator=generator, dtype=torch.float64)
    label = torch.tensor([0, -1, -1, -1, 2, 1, 5, 3])  # known: 1 of rank 0's half, 4 of rank 1's
    many = torch.randint(-1, 2, (BATCH, 6), generator=generator)
    many[:3] = -1
    return {"views": views, "label": label, "many": many}


def projector() -> nn.Linear:
    torch.manual_seed(1)
    return nn.Linear(5, 6).double()


def reconstruction(loss, z, x, **options):
    """Pixels of 2 x 3 images, predicted one by one; the masks hold other numbers on each rank."""
    images = x["many"].double().view(-1, 1, 2, 3)
    return loss(z[0][:, :, None], images, x["many"] == 1, 1, **options)


LOSSES = {
    "nt_xent": lambda z, x: nt_xent(z[0], z[1], 0.1, gather=True),
    "nt_xent_multiview": lambda z, x: nt_xent_multiview(z, 0.2, gather=True),
    "byol": lambda z, x: byol_loss(z, z[:2] * 2),
    "cross_entropy": lambda z, x: cross_entropy(z[0], x["label"], label_smoothing=0.1),
    "multilabel_bce": lambda z, x: multilabel_bce(z[0], x["many"]),
    "simsiam": lambda z, x: simsiam_loss(z, z[:2] * 2),
    "barlow_twins": lambda z, x: barlow_twins_loss(z, 0.1, gather=True),
    "vicreg": lambda z, x: vicreg_loss(z, gather=True),
    "lejepa": lambda z, x: lejepa_loss(z, z[:2], torch.eye(6), 0.5, gather=True),
    "mae": lambda z, x: reconstruction(mae_loss, z, x, norm_pix=False),
    "simmim": lambda z, x: reconstruction(simmim_loss, z, x),
    "koleo": lambda z, x: koleo(z[0], gather=True),
    # Mutants: what these losses must not be.
    "mutant: own negatives": lambda z, x: nt_xent(z[0], z[1], 0.1),
    "mutant: own correlations": lambda z, x: barlow_twins_loss(z, 0.1),
    "mutant: own covariances": lambda z, x: vicreg_loss(z),
    "mutant: own characteristic function": lambda z, x: lejepa_loss(z, z[:2], torch.eye(6), 0.5),
    "mutant: own neighbours": lambda z, x: koleo(z[0]),
    "mutant: own counts": lambda z, x: cross_entropy(z[0], x["label"], per_rank=True),
    "mutant: own pixels": lambda z, x: reconstruction(simmim_loss, z, x, per_rank=True),
}


def value_and_gradients(rows: slice) -> dict[str, list[torch.Tensor]]:
    """Loss, gradient of the weights and of the inputs, as averaged over ranks."""
    everything = data()
    x = {"label": everything["label"][rows], "many": everything["many"][rows]}
    results = {}
    for name, loss_of in LOSSES.items():
        head, views = projector(), everything["views"][:, rows].clone().requires_grad_()
        loss = loss_of(head(views), x)
        grads = torch.autograd.grad(loss, [head.weight, views])
        results[name] = [
            d.all_gather(loss).mean(),
            d.all_gather(grads[0][None]).mean(0),
            grads[1] / d.world_size(),
        ]
    return results


def on_rank():
    rows = BATCH // d.world_size()
    return value_and_gradients(slice(d.rank() * rows, (d.rank() + 1) * rows))


@pytest.mark.parametrize("ranks", [2, 4])
def test_equal_to_one_process(ranks):
    whole = value_and_gradients(slice(None))
    rows = BATCH // ranks
    for r, result in enumerate(run_ranks(ranks, on_rank)):
        for name, (value, weight, views) in result.items():
            expected = whole[name]
            ours = expected[2][:, r * rows : (r + 1) * rows]
            same = torch.allclose(weight, expected[1], rtol=1e-10, atol=1e-12)
            if name.startswith("mutant"):
                assert not same, name
                continue
            assert same, name
            torch.testing.assert_close(value, expected[0], rtol=1e-10, atol=1e-12, msg=name)
            torch.testing.assert_close(views, ours, rtol=1e-10, atol=1e-12, msg=name)


def with_a_gather_that_cuts_the_gradient():
    import sslight.losses.nt_xent as file

    file.gather_with_grad = d.all_gather
    return on_rank()["nt_xent"]


def test_a_gather_without_gradient_would_be_noticed():
    whole = value_and_gradients(slice(None))["nt_xent"]
    value, weight, _ = run_ranks(2, with_a_gather_that_cuts_the_gradient)[0]
    torch.testing.assert_close(value, whole[0])
    assert not torch.allclose(weight, whole[1], rtol=1e-3)
