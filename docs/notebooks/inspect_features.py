"""A notebook as a script: `python scripts/notebooks.py` writes the .ipynb."""

# %% [markdown]
# # Inspect features
#
# A feature store is a folder of memory-mapped arrays: one row for each image, labels and names
# beside it. Here they are raw pixels, which need no training; give the path of a run in their
# place.

# %%
import numpy as np

import sslight

RUN = "runs/pixels"
sslight.extract(
    "quickstart",
    [
        f"run_dir={RUN}",
        "backbone=pixels",
        "init=random",
        "data.workers=0",
        "data.train.num_images=500",
        "data.test.num_images=200",
    ],
)
store = sslight.load_features(RUN)
train, test = store["train"], store["test"]
train.array().shape, train.labels[:5], train.ids[:2]

# %% [markdown]
# How many directions do the features use? The effective rank is the exponential of the entropy of
# the normalised singular values: 1 for a collapsed network, at most the width.


# %%
def effective_rank(features: np.ndarray) -> float:
    """Compute exp(entropy of the singular values' shares) of centred features [N, D]."""
    values = np.linalg.svd(features - features.mean(0), compute_uv=False)
    shares = values / values.sum()
    return float(np.exp(-(shares * np.log(shares + 1e-12)).sum()))


features = np.asarray(train.array(), dtype=np.float64)
round(effective_rank(features), 1), features.std(0).mean()

# %% [markdown]
# The first two principal components, to draw: `plt.scatter(*plane.T, c=train.labels)`.

# %%
centred = features - features.mean(0)
_, _, directions = np.linalg.svd(centred, full_matrices=False)
plane = centred @ directions[:2].T
plane.shape

# %% [markdown]
# Which classes are mixed up? Neighbours vote, and the votes are counted.

# %%
unit = features / np.linalg.norm(features, axis=1, keepdims=True)
asked = np.asarray(test.array(), dtype=np.float64)
asked /= np.linalg.norm(asked, axis=1, keepdims=True)
nearest = np.argsort(-(asked @ unit.T), axis=1)[:, :10]
votes = np.stack([np.bincount(row, minlength=10) for row in train.labels[nearest]])
confusion = np.zeros((10, 10), dtype=int)
np.add.at(confusion, (test.labels, votes.argmax(1)), 1)
print(confusion)
print("accuracy:", (np.diag(confusion).sum() / confusion.sum()).round(3))

# %% [markdown]
# The images that are least like any other one are often the broken ones.

# %%
likeness = unit @ unit.T
np.fill_diagonal(likeness, -1)
lonely = likeness.max(1).argsort()[:5]
[(train.ids[int(i)], float(likeness[i].max().round(3))) for i in lonely]

# %% [markdown]
# In other tools: `train.torch()` gives tensors, `train.pandas()` a table,
# `train.parquet("train.parquet")` a file.
