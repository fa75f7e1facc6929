"""A fit of SimCLR is a plain torch loop over the same batches, to the last digits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import pytorch_lightning as pl
import tiny
import torch
from torch import Tensor, nn

from sslight.methods.simclr import SimCLR
from sslight.optim import Recipe
from sslight.schedules import Cosine

EPOCHS, PER_EPOCH, BATCH = 2, 4, 8
LR, SCALE, WARMUP, TEMPERATURE = 0.4, BATCH / 256, 1.0, 0.2
MOMENTUM = 0.9
DECAY = (1e-2, 1e-1)

RECIPE = Recipe(
    optimizer="sgd",
    lr=LR,
    scale_lr="linear",
    warmup_epochs=WARMUP,
    warmup_lr=0.01,
    end_lr=0.002,
    weight_decay=Cosine(*DECAY),
    momentum=MOMENTUM,
)


class Record(pl.Callback):
    """Keeps the batches that the method saw, and the losses."""

    def __init__(self) -> None:
        self.views: list[list[Tensor]] = []
        self.losses: list[float] = []

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        self.views.append([view.clone() for view in batch["views"]])

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:
        self.losses.append(outputs["loss"].item())


def method() -> SimCLR:
    torch.manual_seed(0)
    return SimCLR(tiny.resnet(), RECIPE, hidden_dim=16, out_dim=8, temperature=TEMPERATURE).double()


@pytest.fixture(scope="module")
def fitted() -> tuple[SimCLR, Record]:
    record, trained = Record(), method()
    trainer = tiny.trainer(record, max_epochs=EPOCHS, precision="64-true")
    trainer.fit(trained, datamodule=tiny.data("simclr", PER_EPOCH * BATCH, BATCH))
    assert len(record.views) == EPOCHS * PER_EPOCH == trainer.global_step
    assert not torch.equal(record.views[0][0], record.views[PER_EPOCH][0])
    return trained, record


# ------------------------------------------------------------------ the plain loop


def learning_rate(step: int) -> float:
    """Warmup from 0.01 over one epoch, then half a cosine from 0.4 to 0.002; all times B / 256."""
    warm, total = PER_EPOCH * WARMUP, EPOCHS * PER_EPOCH
    if step < warm:
        return SCALE * (0.01 + (LR - 0.01) * step / warm)
    progress = (step - warm) / (total - warm)
    return SCALE * (0.002 + (LR - 0.002) * 0.5 * (1 + math.cos(math.pi * progress)))


def weight_decay(step: int) -> float:
    first, last = DECAY
    progress = step / (EPOCHS * PER_EPOCH)
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * progress))


def nt_xent(z: Tensor, temperature: float) -> Tensor:
    """Eq. 1 of the paper, pair by pair: rows i and i + N are the two views of image i."""
    count = len(z)
    terms = []
    for i in range(count):
        j = (i + count // 2) % count
        cosines = torch.stack([torch.cosine_similarity(z[i], z[k], dim=0) for k in range(count)])
        others = torch.tensor([k != i for k in range(count)])
        exponents = torch.exp(cosines / temperature)
        terms.append(-torch.log(exponents[j] / exponents[others].sum()))
    return torch.stack(terms).mean()


def norm_or_bias(net: nn.Module) -> set[str]:
    norms = [name for name, module in net.named_modules() if isinstance(module, NORMS)]
    return {
        n for n, _ in net.named_parameters() if n.endswith("bias") or n.rsplit(".", 1)[0] in norms
    }


NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


@dataclass
class Loop:
    """SGD with momentum, written out."""

    lr: Callable[[int], float] = learning_rate
    decay: Callable[[int], float] = weight_decay
    exempt: Callable[[nn.Module], set[str]] = norm_or_bias
    temperature: float = TEMPERATURE

    def run(self, batches: list[list[Tensor]]) -> tuple[dict[str, Tensor], list[float]]:
        net = method().train().to(memory_format=torch.channels_last)
        losses, exempt = [], self.exempt(net)
        moving: dict[str, Tensor] = {}
        for step, (a, b) in enumerate(batches):
            net.zero_grad()
            loss = nt_xent(net.projector(net.backbone(torch.cat([a, b]))), self.temperature)
            loss.backward()
            losses.append(loss.item())
            for name, parameter in net.named_parameters():
                decay = 0.0 if name in exempt else self.decay(step)
                gradient = parameter.grad + decay * parameter.detach()
                old = moving.get(name)
                moving[name] = gradient if old is None else MOMENTUM * old + gradient
                with torch.no_grad():
                    parameter -= self.lr(step) * moving[name]
        return tiny.snapshot(net), losses


def distance(left: dict[str, Tensor], right: dict[str, Tensor]) -> float:
    assert left.keys() == right.keys()
    return max((left[key] - right[key]).abs().max().item() for key in left)


def test_equal_to_a_plain_loop(fitted: tuple[SimCLR, Record]):
    trained, record = fitted
    state, losses = Loop().run(record.views)
    assert record.losses == pytest.approx(losses, rel=1e-12, abs=1e-12)
    assert distance(state, method().state_dict()) > 1e-3
    assert distance(state, trained.state_dict()) < 1e-12


MUTANTS = {
    "learning rate one step late": {"lr": lambda step: learning_rate(max(step - 1, 0))},
    "learning rate by epoch": {"lr": lambda step: learning_rate(step // PER_EPOCH * PER_EPOCH)},
    "learning rate not scaled": {"lr": lambda step: learning_rate(step) / SCALE},
    "constant weight decay": {"decay": lambda step: DECAY[0]},
    "weight decay one step early": {"decay": lambda step: weight_decay(step + 1)},
    "decayed norms and biases": {"exempt": lambda net: set()},
    "another temperature": {"temperature": TEMPERATURE * (1 + 1e-6)},
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_noticed(fitted: tuple[SimCLR, Record], name: str):
    trained, record = fitted
    state, _ = Loop(**MUTANTS[name]).run(record.views)
    assert distance(state, trained.state_dict()) > 1e-9
