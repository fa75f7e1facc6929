"""A notebook as a script: `python scripts/notebooks.py` writes the .ipynb."""

# %% [markdown]
# # Train on a folder of images
#
# From a folder of images to a trained backbone and its neighbours. Here the images are drawn; put
# the path of yours into `ROOT`, and take more steps.

# %%
import os
from pathlib import Path

import torch
from torchvision.io import write_jpeg

import sslight
from sslight.data.sources.shapes import Shapes

STEPS = int(os.environ.get("STEPS", 200))
ROOT = Path("images")

# %% [markdown]
# Sub-folders are classes, if there are any. Training does not need them; the accuracies do.

# %%
drawn = {split: Shapes(400, size=32) for split in ("train", "test")}
for split, source in drawn.items():
    source.split = split
    source.open()
    for i in range(len(source)):
        path = ROOT / split / source.classes[source.labels[i]] / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_jpeg(source.load(i), str(path))
len(list(ROOT.rglob("*.jpg")))

# %% [markdown]
# A shipped config, changed by a few overrides: the same words as on the command line. The run
# lives in `runs/images`; the same cell again goes on with it.

# %%
overrides = [
    "run_dir=runs/images",
    f"data.train={{name: folder, root: {ROOT / 'train'}}}",
    f"data.test={{name: folder, root: {ROOT / 'test'}}}",
    "data.workers=0",
    "data.batch_size=64",
    "optim.warmup_epochs=0",
    "trainer.max_epochs=1000",
    f"trainer.max_steps={STEPS}",
]
sslight.fit("quickstart", overrides)

# %% [markdown]
# The backbone by itself, and the features of every image.

# %%
backbone = sslight.load_backbone("runs/images")
embedding = backbone.embed([str(next(ROOT.rglob("*.jpg")))])
sslight.extract("runs/images")
store = sslight.load_features("runs/images")
embedding.shape, len(store["train"]), len(store["test"])

# %% [markdown]
# Which training images are nearest to a test image? Features of length 1 make the product a
# cosine.

# %%
train = torch.nn.functional.normalize(torch.from_numpy(store["train"].array()[:]), dim=1)
test = torch.nn.functional.normalize(torch.from_numpy(store["test"].array()[:]), dim=1)
nearest = (test[0] @ train.T).topk(5).indices
print("test image:", store["test"].ids[0])
print("nearest:", [store["train"].ids[int(i)] for i in nearest])

# %% [markdown]
# And how good is that over all of them?

# %%
results = sslight.evaluate("runs/images", protocols=["knn"])
print(*results.values() if isinstance(results, dict) else [results])
