"""The folder that the pages take for granted: photos, their files, small finished runs.

It is called ``project``; ``../shared/data`` beside it stands for the real images, in noise.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import torch
from doc_commands import SHORT
from doc_pages import PAGES, blocks
from torchvision.io import write_jpeg

import sslight

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def fill(folder: Path) -> None:
    """Write everything but the runs."""
    photos(folder / "photos")
    shown_files(folder)
    data = folder.parent / "shared" / "data"
    cifar(data / "cifar10")
    single_photos(data / "photos")
    foreign_weights(folder)
    evaluation_sets(folder)


def noise(path: Path, height: int = 32, width: int = 32) -> None:
    """An image of its own, told apart by its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(list(str(path.relative_to(path.parents[2])).encode()))
    pixels = draw.integers(0, 256, (3, height, width), dtype=np.uint8)
    write_jpeg(torch.from_numpy(pixels), str(path))


def photos(folder: Path) -> None:
    """Two classes; just enough photos for ``sslight init`` to hold some out."""
    for i in range(100):
        noise(folder / ("cat", "dog")[i % 2] / f"{i}.jpg", 40, 48)


def cifar(folder: Path) -> None:
    """CIFAR-10 as a folder per class: 20 training and 4 test images of each."""
    for split, number in {"train": 20, "test": 4}.items():
        for kind in CLASSES:
            for i in range(number):
                noise(folder / split / kind / f"{i:04}.jpg")


def single_photos(folder: Path) -> None:
    """The photos that a page names."""
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for name in set(re.findall(r"\.\./shared/data/photos/([\w.]+)", text)):
        noise(folder / name, 60, 80)


def shown_files(folder: Path) -> None:
    """Write the files that the pages show."""
    for block in blocks("yaml", "python"):
        if block.file:
            (folder / block.file).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.file).write_text(block.text)


def foreign_weights(folder: Path) -> None:
    """Files that a reader downloads: one as MoCo writes it, one whose names are no library's."""
    moco = sslight.backbone("resnet10", width=4).state_dict()
    state = {f"module.encoder_q.{name}": tensor for name, tensor in moco.items()}
    torch.save({"state_dict": state}, folder / "moco_v2_800ep_pretrain.pth.tar")
    lite = sslight.backbone("timm/tf_efficientnet_lite0").state_dict()
    renamed = {f"{i}.{name.rpartition('.')[2]}": lite[name] for i, name in enumerate(lite)}
    torch.save(renamed, folder / "efficientnet-lite0-57934424.pth")
    for name in ("resnet18", "exported"):
        torch.save(sslight.backbone("resnet18").state_dict(), folder / f"{name}.pth")


def evaluation_sets(folder: Path) -> None:
    """Another test set of five classes, and a made-up ground truth for retrieval."""
    for kind in CLASSES[:5]:
        for i in range(2):
            noise(folder / "blurred" / kind / f"{i:04}.jpg")
    images = [f"{kind}/{i:04}" for kind in CLASSES for i in range(20)]
    answer = {name: list(range(at, 200, 10)) for at, name in enumerate(("easy", "hard", "junk"))}
    truth = {
        "imlist": images,
        "qimlist": [f"{kind}/0000" for kind in CLASSES],
        "gnd": [answer] * 10,
    }
    (folder / "gnd.json").write_text(json.dumps(truth))


def small_runs() -> None:
    """The finished runs that the pages take for granted, as small as they can be."""
    tiny = ["backbone.width=4", "trainer.max_epochs=1", "data.workers=0", "data.batch_size=16"]
    tiny += ["data.train.num_images=32", "data.test.num_images=16", "callbacks.linear_probe=null"]
    tiny += ["callbacks.ema_weights={}", "callbacks.view_grid=null"]
    sslight.fit("quickstart", tiny)
    sslight.extract("runs/quickstart")
    shutil.copy("runs/quickstart/backbone.safetensors", "weights.safetensors")
    shutil.copy("runs/quickstart/backbone.json", "weights.json")
    folder = ["data.train.root=photos", "data.test={name: folder, root: photos}"]
    narrow = ["backbone.name=resnet10", "backbone.width=4"]
    sslight.fit("simclr/folder_resnet50", [*folder, *narrow, *SHORT])
