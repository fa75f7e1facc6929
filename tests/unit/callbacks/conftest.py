"""A tiny method and data module with sslight's interface, under a plain Trainer."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from sslight.strategies import loader_position

WIDTH = 6


class Rows(Dataset):
    """Two noisy views of each of n points around their class's centre."""

    def __init__(self, n, classes=3, labelled=True, seed=0):
        g = torch.Generator().manual_seed(seed)
        centres = 3 * torch.randn(classes, 8, generator=torch.Generator().manual_seed(99))
        self.labels = torch.randint(0, classes, (n,), generator=g)
        self.points = centres[self.labels] + 0.3 * torch.randn(n, 8, generator=g)
        self.labelled = labelled

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        x = self.points[i]
        label = self.labels[i] if self.labelled else torch.tensor(-1)
        return {"index": i, "label": label, "views": [x, x.flip(0)]}


class Batches:
    """Batches in a fixed order, from where the trainer's counters stand."""

    def __init__(self, rows, size, trainer):
        self.loader, self.trainer = DataLoader(rows, size), trainer

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        _, done = loader_position(self.trainer)
        yield from itertools.islice(self.loader, done, None)


class Data(pl.LightningDataModule):
    """What the callbacks ask an SSLDataModule for."""

    seed = 0

    def __init__(self, n=24, labels="yes", test=True, batch_size=8):
        super().__init__()
        self.rows = {"train": Rows(n), **({"test": Rows(12, seed=1)} if test else {})}
        self.kind, self.batch_size = labels, batch_size

    split_names = property(lambda self: list(self.rows))
    num_classes = property(lambda self: 3 if self.kind != "none" else None)

    def labels(self, split):
        labels = self.rows[split].labels.numpy()
        if self.kind == "none":
            return None
        return np.stack([labels, labels], 1) if self.kind == "several" else labels

    def eval_loader(self):
        """Only its presence is asked for."""

    def train_dataloader(self):
        return Batches(self.rows["train"], self.batch_size, self.trainer)

    def val_dataloader(self):
        return DataLoader(self.rows["test"], 5) if "test" in self.rows else []


class Method(pl.LightningModule):
    """Pulls two views together through batch norm; records what the callbacks asked of it."""

    seed = 0

    def __init__(self, lr=0.05, embeds=True, losses=None):
        super().__init__()
        torch.manual_seed(0)
        self.backbone = nn.Sequential(nn.Linear(8, WIDTH), nn.BatchNorm1d(WIDTH))
        self.backbone.embed_dim = WIDTH
        self.lr, self.embeds, self.losses = lr, embeds, losses or {}
        self.asked, self.seen_weights, self.done = [], [], 0

    @property
    def eval_backbone(self):
        return self.backbone

    def training_step(self, batch, batch_idx):
        embedding = self.backbone(torch.cat(batch["views"]))
        a, b = embedding.chunk(2)
        loss = (a - b).square().mean() - 0.1 * embedding.var(0).mean()
        loss = loss * self.losses.get(self.done, 1.0)
        self.done += 1
        return {"loss": loss, "embedding": embedding.detach() if self.embeds else None}

    def validation_step(self, batch, batch_idx):
        self.seen_weights.append(self.backbone[0].weight.detach().clone())
        return {"embedding": self.backbone(batch["views"][0]), "label": batch["label"]}

    def dataset_features(self, split="train", rows=None):
        self.asked.append((split, None if rows is None else len(rows), self.trainer.global_step))
        points = self.trainer.datamodule.rows[split].points
        points = points if rows is None else points[torch.as_tensor(rows)]
        training, self.backbone.training = self.backbone.training, False
        self.seen_weights.append(self.backbone[0].weight.detach().clone())
        self.backbone.eval()
        features = self.backbone(points).float()
        self.backbone.train(training)
        return features

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), self.lr)


def make_trainer(folder, *callbacks, epochs=3, **options):
    return pl.Trainer(
        **{
            "max_epochs": epochs,
            "callbacks": list(callbacks),
            "default_root_dir": folder,
            "logger": False,
            "accelerator": "cpu",
            "log_every_n_steps": 1,
            "num_sanity_val_steps": 0,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "enable_checkpointing": False,
            **options,
        }
    )


@pytest.fixture
def kit():
    """The classes and the trainer factory above."""
    return SimpleNamespace(Rows=Rows, Data=Data, Method=Method, trainer=make_trainer, width=WIDTH)


@pytest.fixture
def logged(monkeypatch):
    """Every (name, value) passed to ``self.log`` or ``log_dict``, with the step, in order."""
    rows = []
    log = pl.LightningModule.log

    def note(self, name, value, *args, **kwargs):
        rows.append((name, float(value), self.trainer.global_step))
        return log(self, name, value, *args, **kwargs)

    monkeypatch.setattr(pl.LightningModule, "log", note)
    return rows
