"""Training is the same, bit for bit, with probes and watchers on or off."""

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize
from torch.utils.data import DataLoader

from sslight.callbacks.collapse import Collapse
from sslight.callbacks.ema_weights import EmaWeights
from sslight.callbacks.linear_probe import LinearProbe
from sslight.callbacks.nan_guard import NanGuard
from sslight.callbacks.view_grid import ViewGrid


class TinySimCLR(pl.LightningModule):
    """A contrastive loss on two noisy views, with dropout: every global draw shows in the loss."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(8, 8))
        self.losses = []

    def training_step(self, batch, batch_idx):
        embedding = self.backbone(torch.cat(batch["views"]))
        z = normalize(self.head(embedding), dim=1)
        logits = (z @ z.T / 0.5).masked_fill(torch.eye(len(z), dtype=torch.bool), -1e9)
        loss = cross_entropy(logits, torch.arange(len(z)).roll(len(z) // 2))
        self.losses.append(loss.detach().clone())
        return {"loss": loss, "embedding": embedding}  # with its graph: the probe must cut it

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.2, momentum=0.9)


def examples():
    g = torch.Generator().manual_seed(0)
    return [
        {
            "index": i,
            "label": i % 3,
            "views": [torch.rand(3, 8, 8, generator=g), torch.rand(3, 8, 8, generator=g)],
        }
        for i in range(32)
    ]


def train(folder, *callbacks):
    torch.manual_seed(0)
    method = TinySimCLR()
    pl.Trainer(
        max_epochs=3,
        callbacks=list(callbacks),
        default_root_dir=folder,
        logger=False,
        accelerator="cpu",
        log_every_n_steps=2,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    ).fit(method, DataLoader(examples(), 8, shuffle=True))
    return torch.stack(method.losses), method.state_dict()


def same(a, b):
    return torch.equal(a[0], b[0]) and all(torch.equal(a[1][k], b[1][k]) for k in a[1])


class DrawingProbe(LinearProbe):
    """Mutant: its weights come from the generator that training draws from."""

    def _create(self, width, device):
        super()._create(width, device)
        with torch.no_grad():
            self.weight.copy_(nn.Linear(width, 3).weight)


class PullingProbe(LinearProbe):
    """Mutant: the last digits of one weight feel it."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        with torch.no_grad():
            pl_module.head[1].bias += 1e-6 * self.weight.abs().sum()


@pytest.fixture
def off(tmp_path):
    return train(tmp_path)


WATCHERS = {
    "sgd": lambda: LinearProbe(num_classes=3),
    "adamw": lambda: LinearProbe(num_classes=3, optimizer="adamw", lr=0.01),
    "collapse": lambda: Collapse(buffer=64),
    "nan_guard": NanGuard,
    "view_grid": lambda: ViewGrid(every_n_epochs=1),
    "ema_weights": lambda: EmaWeights(0.9),
}


@pytest.mark.parametrize("name", WATCHERS)
def test_on_equals_off(tmp_path, off, name):
    callback = WATCHERS[name]()
    assert same(train(tmp_path, callback), off)
    assert not getattr(callback, "off", False)


def test_all_together_equal_off(tmp_path, off):
    assert same(
        train(tmp_path, *(make() for name, make in WATCHERS.items() if name != "adamw")), off
    )


@pytest.mark.parametrize("mutant", [DrawingProbe, PullingProbe])
def test_a_probe_that_touches_training_is_noticed(tmp_path, off, mutant):
    assert not same(train(tmp_path, mutant(num_classes=3)), off)
