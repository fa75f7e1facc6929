"""A notebook as a script: `python scripts/notebooks.py` writes the .ipynb."""

# %% [markdown]
# # Plug a backbone into other code
#
# What training leaves is `backbone.safetensors`: weights with torchvision's or timm's names, and
# a JSON beside it that says how to build the network. Here a short run makes one.

# %%
import os

import torch
from safetensors.torch import load_file
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

import sslight

STEPS = int(os.environ.get("STEPS", 50))
RUN = "runs/plug"
sslight.fit(
    "quickstart",
    [
        f"run_dir={RUN}",
        "data.workers=0",
        "data.train.num_images=512",
        "data.test=null",
        "callbacks.knn=null",
        "callbacks.linear_probe=null",
        "optim.warmup_epochs=0",
        f"trainer.max_steps={STEPS}",
    ],
)

# %% [markdown]
# As a module. `embed` takes paths, PIL images or uint8 tensors, and applies the transform that
# belongs to the network; calling it takes normalised batches, as any module does.

# %%
backbone = sslight.load_backbone(RUN)
images = torch.randint(0, 256, (4, 3, 40, 40), dtype=torch.uint8)
backbone.embed(list(images)).shape, backbone.embed_dim

# %% [markdown]
# With a head of your own, in a loop of your own: it is a plain `nn.Module`.

# %%
classifier = nn.Sequential(sslight.load_backbone(RUN), nn.Linear(backbone.embed_dim, 10))
optimizer = torch.optim.AdamW(classifier.parameters(), lr=1e-3)
batch, labels = torch.randn(8, 3, 32, 32), torch.arange(8)
for _ in range(2):
    loss = nn.functional.cross_entropy(classifier(batch), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
loss.item()

# %% [markdown]
# The weights alone, without sslight: a dict of tensors.

# %%
weights = load_file(f"{RUN}/backbone.safetensors")
list(weights)[:3], sum(tensor.numel() for tensor in weights.values())

# %% [markdown]
# Maps of inner layers, for detection or segmentation, by torchvision's own tool.

# %%
network = next(m for m in backbone.modules() if hasattr(m, "layer4"))
maps = create_feature_extractor(network.eval(), {"layer3": "stride 8", "layer4": "stride 16"})
{name: tuple(out.shape) for name, out in maps(torch.randn(1, 3, 64, 64)).items()}

# %% [markdown]
# A backbone of any other origin goes the other way: `sslight.as_backbone(module)` finds its
# width, and every method trains it.

# %%
mine = nn.Sequential(nn.Conv2d(3, 16, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
sslight.as_backbone(mine).embed_dim
