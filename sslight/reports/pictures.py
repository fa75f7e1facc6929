"""Images in a page: many small ones as a single JPEG, views as the model saw them."""

from __future__ import annotations

import base64
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sslight.callbacks.view_grid import draw_grid
from sslight.data.errors import ImageError
from sslight.reports.base import Facts, GapError

#: Side of a thumbnail; multiples of 16 keep JPEG's blocks apart. Small images keep 32.
SIDE, SMALL_SIDE = 48, 32
#: Thumbnails in a row of the sheet.
COLUMNS = 32
#: A picture of views is made no wider, and no larger, than this.
_WIDEST, _LARGEST = 1200, 400_000
#: Images whose views are drawn anew where the run kept no picture.
_DRAWN = 6


class Sheet:
    """Thumbnails of images of a data module, each at most once, in one JPEG.

    Args:
        data: The data module.
        expected: Split name to the fingerprint that its rows were made from; a split that is not
            like that any more is not shown.
    """

    def __init__(self, data: Any, expected: dict[str, str] | None = None) -> None:
        self.data = data
        self.expected = expected or {}
        self._places: dict[tuple[str, int], int] = {}

    def place(self, split: str, row: int) -> int:
        """The number of an image's thumbnail."""
        return self._places.setdefault((split, int(row)), len(self._places))

    @property
    def used(self) -> bool:
        """Whether any thumbnail is asked for."""
        return bool(self._places)

    def check(self, split: str) -> None:
        """Make sure that a split's images are those that the features are of.

        Raises:
            GapError: They are not, or are gone.
        """
        try:
            source = self.data.source(split)
        except (OSError, ValueError, KeyError) as error:
            raise GapError(f"The images of {split!r} cannot be opened here: {error}") from error
        if split in self.expected and source.fingerprint() != self.expected[split]:
            raise GapError(f"The images of {split!r} have changed since the features were made.")

    def facts(self) -> Facts:
        """The JPEG as a data URI, with its measures and the number of unreadable images."""
        images = [self._load(split, row) for split, row in self._places]
        sizes = [min(image.size) for image in images if image is not None]
        side = SIDE if not sizes or max(sizes) > 40 else SMALL_SIDE
        sheet = _laid_out(
            [None if image is None else _square(image, side) for image in images], side
        )
        bad = sum(image is None for image in images)
        return {"uri": _jpeg(sheet, 78), "side": side, "columns": COLUMNS, "unreadable": bad}

    def _load(self, split: str, row: int) -> Any:
        try:
            return _thumbnail(self.data.source(split).load(row))
        except (ImageError, OSError):
            return None


def _thumbnail(pixels: Tensor) -> Any:
    """A uint8 ``[C, H, W]`` as a small PIL image: grey of one channel, the first three of more."""
    from PIL import Image

    shown = pixels[:3] if len(pixels) >= 3 else pixels[:1].expand(3, -1, -1)
    image = Image.fromarray(np.ascontiguousarray(shown.permute(1, 2, 0).numpy()))
    if min(image.size) > 2 * SIDE:  # what is kept of many large images stays small
        image = _square(image, 2 * SIDE)
    return image


def _square(image: Any, side: int) -> Any:
    from PIL import Image, ImageOps

    return ImageOps.fit(image, (side, side), Image.Resampling.LANCZOS)


def _laid_out(tiles: list[Any], side: int) -> Any:
    from PIL import Image

    rows = max(1, -(-len(tiles) // COLUMNS))
    sheet = Image.new("RGB", (COLUMNS * side, rows * side), (128, 128, 128))
    for number, tile in enumerate(tiles):
        if tile is not None:
            sheet.paste(tile, (number % COLUMNS * side, number // COLUMNS * side))
    return sheet


def _jpeg(image: Any, quality: int) -> str:
    file = io.BytesIO()
    image.convert("RGB").save(file, "JPEG", quality=quality, optimize=True, progressive=True)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


# -------------------------------------------------------------------- views


def views(folder: Path, data: Any = None) -> Facts:
    """The newest picture of augmented views that the run kept, else one drawn now.

    Raises:
        GapError: There is neither a picture nor images.
    """
    kept = sorted((folder / "views").glob("step_*.png"), key=lambda path: int(path.stem[5:] or 0))
    if kept:
        from PIL import Image

        with Image.open(kept[-1]) as image:
            return {**_picture(image.convert("RGB")), "from": f"step {kept[-1].stem[5:]}"}
    if data is None or "train" not in data.split_names:
        raise GapError(
            "No picture of the views was kept, and the training images cannot be opened here."
        )
    return {**_picture(_drawn(data)), "from": "drawn from the config, epoch 0"}


def _drawn(data: Any) -> Any:
    """The views of a few images, as training draws them in its first epoch."""
    from PIL import Image

    try:
        source = data.source("train")
        rows = np.unique(np.linspace(0, len(source) - 1, _DRAWN).astype(int))
        dataset = data.view_dataset(source, data.maker, on_error="replace", replace=True)
        raw = dataset.__getitems__([(0, int(row)) for row in rows])
    except (ImageError, OSError, ValueError) as error:
        raise GapError(f"The views cannot be drawn: {error}") from error
    made = data.maker.apply(raw.content)["views"]
    specs = [(s.mean, s.std) for s in data.maker.specs for _ in range(s.count)]
    grid = draw_grid(made, specs if len(specs) == len(made) else None)
    return Image.fromarray(np.ascontiguousarray(grid.to(torch.uint8).permute(1, 2, 0).numpy()))


def _side_by_side(image: Any) -> Any:
    """Cut a tall picture of square cells between its rows, and lay the pieces side by side."""
    from PIL import Image

    strip = math.gcd(image.width, image.height)  # whole cells
    pieces, ratio = image.height // strip, image.width / image.height
    if ratio > 0.7:
        return image
    divisors = [n for n in range(1, pieces + 1) if pieces % n == 0]
    across = min(divisors, key=lambda n: abs(math.log(n * n * ratio / 2.5)))
    rows, gap = image.height // across, max(6, image.width // 12)
    wide = Image.new("RGB", (across * image.width + (across - 1) * gap, rows), (255, 255, 255))
    for n in range(across):
        part = image.crop((0, n * rows, image.width, (n + 1) * rows))
        wide.paste(part, (n * (image.width + gap), 0))
    return wide


def _picture(image: Any) -> Facts:
    """A picture as a data URI, with its size; a large one is shrunk."""
    image = _side_by_side(image)
    if image.width > _WIDEST:
        image = image.resize((_WIDEST, round(image.height * _WIDEST / image.width)))
    uri = next(
        uri for quality in (88, 70, 50, 30, 10)
        if len(uri := _jpeg(image, quality)) < _LARGEST or quality == 10
    )  # fmt: skip
    return {"uri": uri, "width": image.width, "height": image.height}
