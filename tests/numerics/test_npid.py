"""NCE over a memory, its constant and its rows against loops written from the paper."""

from __future__ import annotations

import math

import pytest
import torch

from sslight.losses.nce import log_partition, nce_loss
from sslight.modules.instance_nce import InstanceNCE, others
from sslight.modules.memory_bank import MemoryBank

IMAGES, DIM, EPS = 9, 5, 2.0**-23


class Oracle:
    """Equations 4, 6 and 7 of the paper, a number at a time; what is learnt is kept in lists."""

    def __init__(self, rows: torch.Tensor, negatives: int, temperature: float, momentum: float):
        self.rows, self.z = [row.clone() for row in rows], None
        self.negatives, self.temperature, self.momentum = negatives, temperature, momentum

    def losses(self, outputs: list[torch.Tensor], index: list[int], epoch: int):
        drawn = others(torch.tensor(index), IMAGES, self.negatives, seed=3, epoch=epoch).tolist()
        scores = [
            [
                [self.score(output[b], row) for row in (index[b], *drawn[b])]
                for b in range(len(index))
            ]
            for output in outputs
        ]
        if self.z is None:
            flat = [s.item() for output in scores for image in output for s in image]
            self.z = IMAGES * sum(flat) / len(flat)
        return [self.nce(output) for output in scores]

    def score(self, embedding: torch.Tensor, row: int) -> torch.Tensor:
        return torch.exp(embedding @ self.rows[row] / embedding.norm() / self.temperature)

    def nce(self, scores: list[list[torch.Tensor]]) -> torch.Tensor:
        noise, total = self.negatives / IMAGES, 0.0
        for own, *rest in scores:
            p = own / self.z
            total = total + torch.log(p / (p + noise + EPS))
            for other in rest:
                total = total + torch.log(noise / (other / self.z + noise + EPS))
        return -total / len(scores)

    def update(self, index: list[int], output: torch.Tensor) -> None:
        rows = [row.clone() for row in self.rows]
        for image in set(index):
            mine = [output[b] / output[b].norm() for b, i in enumerate(index) if i == image]
            moved = self.momentum * rows[image]
            moved = moved + (1 - self.momentum) * sum(mine).detach() / len(mine)
            self.rows[image] = moved / moved.norm()


def outputs(step: int, count: int, batch: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    return [
        torch.randn(batch, DIM, generator=generator, dtype=torch.float64).requires_grad_()
        for _ in range(count)
    ]


def both(negatives: int = 4, temperature: float = 0.3, momentum: float = 0.5):
    torch.manual_seed(0)
    memory = MemoryBank(IMAGES, DIM, momentum)
    mine = InstanceNCE(memory, negatives, temperature).double()
    memory.rows /= memory.rows.norm(dim=1, keepdim=True)
    return mine, Oracle(memory.rows, negatives, temperature, momentum)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(("negatives", "temperature", "momentum"), [(4, 0.07, 0.5), (11, 1.0, 0.0)])
def test_losses_gradients_constant_and_rows_over_steps(count, negatives, temperature, momentum):
    mine, oracle = both(negatives, temperature, momentum)
    for step, index in enumerate(([0, 5, 8], [5, 2, 5], [1, 1, 1])):
        z = outputs(step, count, len(index))
        got = mine(z, torch.tensor(index), seed=3, epoch=step)
        expected = oracle.losses(z, index, epoch=step)
        for a, b in zip(got, expected, strict=True):
            assert a.item() == pytest.approx(b.item(), rel=1e-10)
        grads = [torch.autograd.grad(sum(values), z) for values in (got, expected)]
        for a, b in zip(*grads, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)
        mine.memory.update(torch.tensor(index), z[-1])
        oracle.update(index, z[-1])
        torch.testing.assert_close(mine.memory.rows, torch.stack(oracle.rows).detach())
        assert mine.log_z.item() == pytest.approx(math.log(oracle.z), rel=1e-12)
    torch.testing.assert_close(mine.memory.rows.norm(dim=1), torch.ones(IMAGES).double())


def test_mutants_would_be_noticed():
    """Z of the first output only, and the last write for an image that comes twice."""
    mine, oracle = both()
    z = outputs(0, 2, 3)
    mine(z, torch.tensor([5, 2, 5]), seed=3, epoch=0)
    oracle.losses(z[:1], [5, 2, 5], epoch=0)
    assert mine.log_z.item() != pytest.approx(math.log(oracle.z), rel=1e-4)
    mine.memory.update(torch.tensor([5, 2, 5]), z[0])
    oracle.update([5, 2], z[0][[2, 1]])
    assert not torch.allclose(mine.memory.rows, torch.stack(oracle.rows), atol=1e-3)


def test_a_perfect_memory_in_float32_at_a_small_temperature():
    """Log-sigmoids: no exponential of 100 is formed, and nothing is lost."""
    logits = torch.full((2, 1 + 8), -100.0, dtype=torch.float64)
    logits[:, 0] = 100
    logits.requires_grad_()
    log_z = log_partition(logits, 1000)
    assert log_z.item() == pytest.approx(100 + math.log(1000 / 9))
    loss = nce_loss(logits, log_z, 1000)
    single = nce_loss(logits.float(), log_partition(logits.float(), 1000), 1000)
    assert single.item() == pytest.approx(loss.item(), rel=1e-5)
    grads = [torch.autograd.grad(value, logits)[0] for value in (loss, single)]
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-6)
