"""A notebook as a script: `python scripts/notebooks.py` writes the .ipynb."""

# %% [markdown]
# # Write a method
#
# A method is a class with `__init__` and `training_loss`. Everything else, optimizer, schedules,
# logging, probes, resuming, is the base class's. It trains under Lightning's own `Trainer`.

# %%
import os

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn.functional import normalize

from sslight import Batch, Recipe, SSLDataModule, SSLModule, StepOutput, backbone, make_views
from sslight.callbacks.knn import KNN
from sslight.data.sources.shapes import Shapes

STEPS = int(os.environ.get("STEPS", 200))

# %% [markdown]
# Alignment and uniformity (Wang & Isola, 2020, arXiv:2005.10242): views of an image together,
# images spread over the sphere. What is a keyword here is a key in a config.


# %%
class Align(SSLModule):
    """Pull an image's views together and spread the batch out.

    Args:
        dim: Width of the embedding that is spread.
        t: Scale of the spreading.
    """

    default_views = "simclr"

    def __init__(
        self, backbone: nn.Module, optim: Recipe | None = None, *, dim: int = 64, t: float = 2.0
    ) -> None:
        super().__init__(backbone, optim)
        self.t = t
        self.head = nn.Linear(self.backbone.embed_dim, dim)

    def training_loss(self, batch: Batch) -> StepOutput:
        embedding = self.backbone(torch.cat(batch["views"]))  # [2B, D]
        a, b = normalize(self.head(embedding), dim=1).chunk(2)  # [B, dim] each
        align = (a - b).square().sum(1).mean()
        uniform = torch.pdist(a).square().mul(-self.t).exp().mean().log()
        logs = {"align": align, "uniform": uniform}
        return StepOutput(align + uniform, embedding=embedding, logs=logs)


# %% [markdown]
# Try the loss first, without a trainer: it is a function of a batch.

# %%
torch.manual_seed(0)
method = Align(backbone("resnet10", stem="stride2", width=16), Recipe(lr=0.1))
batch = {"views": [torch.rand(8, 3, 32, 32), torch.rand(8, 3, 32, 32)]}
method.training_loss(batch).loss

# %% [markdown]
# Then train it. `KNN` measures, on a clean view of the images, how often neighbours share a
# class; it changes no weight.

# %%
views = make_views("simclr", size=32)
data = SSLDataModule(Shapes(2000), Shapes(500), views=views, batch_size=64, workers=0)
trainer = pl.Trainer(
    max_steps=STEPS,
    callbacks=[KNN(k=20)],
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
)
trainer.fit(method, data)
{name: round(float(value), 3) for name, value in trainer.callback_metrics.items()}

# %% [markdown]
# Save the class as `mymethods/align.py`, and a config names it: `method: {name:
# "mymethods.align:Align", dim: 64}`, with `--trust mymethods` on the command line. Teachers,
# several ranks, large batches: [methods](../methods.md). Sources, callbacks, protocols: [your own
# parts](../extend.md).
