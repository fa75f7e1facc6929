"""The evaluation view as torchvision code that anybody can run."""

from __future__ import annotations

import json
from pathlib import Path

from sslight.augment.spec import PROBABILITIES, ViewSpec
from sslight.checkpoints.loaded import LoadedBackbone
from sslight.checkpoints.record import view_fields
from sslight.errors import RefusedRunError

_FILE = '''"""From image files to the network's input: python transform.py photo.jpg."""

import sys

import torch
from PIL import Image, ImageOps
from torchvision.transforms import v2

transform = v2.Compose([
{steps}
])


def load(path):
    """An image file, turned upright as its EXIF tag says, as a batch of one: [1, C, H, W]."""
    return transform(ImageOps.exif_transpose(Image.open(path)))[None]


if __name__ == "__main__":
    for path in sys.argv[1:]:
        print(path, list(load(path).shape))
'''


def check_view(view: ViewSpec) -> None:
    """Refuse a view that draws at random: it is no transform to evaluate with.

    Raises:
        RefusedRunError: It does.
    """
    drawn = [name for name in PROBABILITIES if getattr(view, name) > 0]
    if view.crop == "random":
        drawn.insert(0, "crop: random")
    if drawn:
        raise RefusedRunError(
            f"export: the evaluation view draws at random ({', '.join(drawn)}), so it cannot go "
            'along as a transform. Give another: export(..., view=views("eval", SIZE).specs[0]).'
        )


def steps(view: ViewSpec, channels: int = 3) -> list[str]:
    """The view as torchvision transforms, in order, as code; the same pixels as sslight's own."""
    made = ["v2.ToImage()"]
    if channels == 3:
        made.append("v2.RGB()")
    if view.crop == "center":
        mode = f"v2.InterpolationMode.{view.interpolation.upper()}"
        made.append(f"v2.Resize({view.resized}, interpolation={mode}, antialias=True)")
        made.append(f"v2.CenterCrop({view.size})")
    made.append("v2.ToDtype(torch.float32, scale=True)")
    if view.mean is not None and view.std is not None:
        made.append(f"v2.Normalize(mean={list(view.mean)}, std={list(view.std)})")
    return made


def write_transform(loaded: LoadedBackbone, folder: Path, channels: int) -> None:
    """Write ``transform.json``, the view's fields, and ``transform.py``, which makes it."""
    fields = json.dumps(view_fields(loaded.view), indent=1)
    (folder / "transform.json").write_text(f"{fields}\n", encoding="utf-8")
    code = _FILE.format(steps="\n".join(f"    {step}," for step in steps(loaded.view, channels)))
    (folder / "transform.py").write_text(code, encoding="utf-8")
