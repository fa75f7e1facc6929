"""Views of images: cut in the worker, finished in batches on the device."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from sslight.augment.crop import cut
from sslight.augment.draws import seed_of
from sslight.augment.params import Params, draw_boxes, draw_params
from sslight.augment.parts import Part
from sslight.augment.pixels import finish
from sslight.augment.presets import PRESETS
from sslight.augment.reduced import Reduced, largest_factor
from sslight.augment.spec import Colors, ViewSpec

#: Keeps the draws of views apart from others made of the run's seed.
_STREAM = 1
_PARTS = 2

#: Entries of a batch that are images, and where what was drawn for them is until ``apply``.
IMAGES = {"views": "params", "anchors": "anchor_params"}


@runtime_checkable
class ViewMaker(Protocol):
    """Makes the views of a batch in two halves: in the worker, and on the device."""

    @property
    def specs(self) -> Sequence[ViewSpec]:
        """Kinds of views."""

    @property
    def n_views(self) -> int:
        """Number of views of each image."""

    @property
    def n_global(self) -> int:
        """How many of them, the first ones, are global."""

    @property
    def size(self) -> int:
        """Side of the first view in pixels."""

    def fetch(self, images: Sequence[Tensor], epoch: int, index: Tensor) -> dict[str, Any]:
        """Draw and crop, on 8-bit images ``[C, h, w]`` of any sizes."""

    def apply(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Finish the views of a fetched batch, wherever it lies."""


class Views:
    """The view maker for lists of specs.

    Everything random is drawn in ``fetch`` from (seed, epoch, sample index, view) and travels with
    the batch; ``apply`` draws nothing. Neither depends on which samples share a batch.

    Args:
        specs: Kinds of views, global ones first; among them parts that add entries to the batch.
        seed: The run's seed.
    """

    def __init__(self, specs: Sequence[ViewSpec | Part], seed: int = 0) -> None:
        self.parts = tuple(part for part in specs if isinstance(part, Part))
        self.specs = tuple(spec for spec in specs if not isinstance(spec, Part))
        self.seed = seed
        _check_specs(self.specs)
        #: Specs of anchors, by the number of the view whose crop they copy.
        self._anchors = {n: s.of_anchor for n, s in enumerate(self.each) if s.anchor is not None}

    def __repr__(self) -> str:
        return f"Views({[*self.specs, *self.parts]}, seed={self.seed})"

    @property
    def each(self) -> list[ViewSpec]:
        """The spec of each single view."""
        return [spec for spec in self.specs for _ in range(spec.count)]

    @property
    def n_views(self) -> int:
        """Number of views of each image."""
        return sum(spec.count for spec in self.specs)

    @property
    def n_global(self) -> int:
        """How many of them, the first ones, are global."""
        return sum(spec.count for spec in self.specs if not spec.local)

    @property
    def size(self) -> int:
        """Side of the first view in pixels."""
        return self.specs[0].size

    def fetch(
        self, images: Sequence[Tensor | Reduced], epoch: Tensor | int, index: Tensor
    ) -> dict[str, Any]:
        """Draw all parameters and cut all views.

        Args:
            images: uint8 ``[C, h, w]`` tensors of any sizes, or one ``[B, C, h, w]``; or images
                decoded at a fraction of their size, of which the same regions are cut.
            epoch: One epoch, or ``[B]``.
            index: Dataset indices ``[B]``.

        Returns:
            ``views``: uint8 ``[B, C, s, s]`` per view; ``params``: of each view, see
            :func:`~sslight.augment.params.draw_params`; ``n_global``; with anchors ``anchors`` and
            ``anchor_params``, likewise; what the parts add.
        """
        images = list(images)
        self._check_images(images, index)
        heights = torch.tensor([image.shape[1] for image in images], dtype=torch.int64)
        widths = torch.tensor([image.shape[2] for image in images], dtype=torch.int64)
        seed = seed_of(self.seed, _STREAM)

        def made(specs: Iterable[tuple[int, ViewSpec]]) -> tuple[list[Tensor], list[Params]]:
            views, params = [], []
            for number, spec in specs:
                drawn = draw_params(spec, seed, epoch, index, number, heights, widths)
                views.append(cut(images, drawn["crop"], spec))
                params.append(drawn)
            return views, params

        views, params = made(enumerate(self.each))
        batch = {"views": views, "params": params, "n_global": self.n_global}
        if self._anchors:
            batch["anchors"], batch["anchor_params"] = made(self._anchors.items())
        for number, part in enumerate(self.parts):
            batch.update(part.draw(seed_of(self.seed, _PARTS, number), epoch, index))
        return batch

    def reduction(self, epoch: int, index: int, height: int, width: int) -> int:
        """Return by how much an image may be divided before ``fetch`` cuts its views.

        Args:
            epoch: Of the draws.
            index: Dataset index of the image.
            height: Of the full image.
            width: Of the full image.

        Returns:
            The largest of 1, 2, 4, 8 that leaves the region of every view as many pixels as the
            view has, in height and width (:data:`~sslight.augment.reduced.MARGIN`).
        """
        factor = min(_largest_reduction(spec, min(height, width)) for spec in self.specs)
        seed, first = seed_of(self.seed, _STREAM), 0
        for spec in self.specs:
            numbers = range(first, first := first + spec.count)
            if factor > 1 and spec.crop == "random":
                boxes = draw_boxes(spec, seed, epoch, index, numbers, height, width)
                factor = min(factor, largest_factor(int(boxes[:, 2:].min()) / _largest_side(spec)))
        return factor

    @torch.no_grad()
    def apply(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return the batch with finished float32 views and anchors, and without parameters.

        Never waits for the device. Other entries are passed on.
        """
        rest = {key: value for key, value in batch.items() if key not in IMAGES.values()}
        specs = {"views": self.each, "anchors": [*self._anchors.values()]}
        device = batch["views"][0].device.type
        with torch.autocast(device, enabled=False):
            for name, params in IMAGES.items():
                if name in batch:
                    drawn = zip(batch[name], batch[params], specs[name], strict=True)
                    rest[name] = [finish(*view) for view in drawn]
        return rest

    def __call__(
        self,
        images: Tensor | Sequence[Tensor],
        epoch: int | None = None,
        index: Tensor | int | None = None,
    ) -> list[Tensor]:
        """Make the views of a batch, or of one image inside a dataset of your own.

        Args:
            images: uint8 ``[B, C, h, w]``, a list of ``[C, h, w]`` of any sizes, or one such.
            epoch: With ``index``, decides what is drawn. None draws from torch's global generator,
                as an ordinary transform does.
            index: Dataset indices ``[B]`` (one number for one image); None for 0, 1, ...

        Returns:
            One float32 ``[B, C, s, s]`` per view; ``[C, s, s]`` for one image.
        """
        single = isinstance(images, Tensor) and images.ndim == 3
        many: list[Tensor] = [images] if single else list(images)  # type: ignore[list-item]
        if epoch is None:
            epoch = int(torch.randint(1 << 62, ()))
        rows = torch.arange(len(many)) if index is None else torch.as_tensor(index).reshape(-1)
        views: list[Tensor] = self.apply(self.fetch(many, epoch, rows))["views"]
        return [view[0] for view in views] if single else views

    def _check_images(self, images: list[Tensor | Reduced], index: Tensor) -> None:
        if not images:
            raise ValueError("views: got no images")
        if len(index) != len(images):
            raise ValueError(f"views: got {len(images)} images and {len(index)} indices")
        channels = images[0].shape[0]
        for i, image in enumerate(images):
            kind = (image.dtype, image.ndim) if isinstance(image, Tensor) else (torch.uint8, 3)
            if kind != (torch.uint8, 3) or image.shape[0] != channels:
                raise ValueError(
                    f"views: image {i} is {kind[0]} {list(image.shape)}; expected torch.uint8 "
                    f"[C, h, w] with the first image's number of channels ({channels})"
                )
        for spec in self.specs:
            spec.check_channels(channels)


def _largest_reduction(spec: ViewSpec, shorter: int) -> int:
    """Return how far an image with this shorter side may be reduced, wherever the crop lies."""
    if spec.crop == "none":
        return 1
    side = spec.resized if spec.crop == "center" else _largest_side(spec)
    return largest_factor(shorter / side)


def _largest_side(spec: ViewSpec) -> int:
    """Return the side of the larger of a random crop and its anchor."""
    return max(spec.size, spec.anchor or 0)


def _check_specs(specs: tuple[ViewSpec, ...]) -> None:
    if not specs or not all(isinstance(spec, ViewSpec) for spec in specs):
        raise TypeError(f"views: expected a list of one or more ViewSpec, got {list(specs)!r}")
    order = [spec.local for spec in specs]
    if order != sorted(order) or all(order):
        raise ValueError(
            "views: expected one or more global views (local: false), and local ones after them"
        )


def make_views(
    specs: str | ViewSpec | Sequence[ViewSpec | Part] | ViewMaker,
    seed: int = 0,
    size: int | None = None,
    colors: Colors = "exact",
) -> ViewMaker:
    """Return a view maker.

    Args:
        specs: A preset's name, a spec, a list of specs, or a view maker (returned as it is).
        seed: The run's seed.
        size: Side of the views of a preset; None for the preset's default.
        colors: ``linear`` for all specs, or as each says.
    """
    if isinstance(specs, ViewMaker):
        if colors != "exact":
            raise ValueError(f"views: colors={colors!r} is for view specs, not for a view maker")
        return specs
    made = views(specs, size, seed)
    if colors == "exact":
        return made
    return Views([*(replace(spec, colors=colors) for spec in made.specs), *made.parts], seed)


def views(
    specs: str | ViewSpec | Sequence[ViewSpec | Part], size: int | None = None, seed: int = 0
) -> Views:
    """Return views for use on their own: ``views("simclr", 32)(images)``.

    Args:
        specs: A preset's name, a spec, or a list of specs.
        size: Side of the views of a preset in pixels; None for the preset's default.
        seed: Of the draws, together with epoch and index.
    """
    if isinstance(specs, str):
        if specs not in PRESETS:
            raise ValueError(f"views: no preset {specs!r}; there are: {', '.join(PRESETS)}")
        specs = PRESETS[specs]() if size is None else PRESETS[specs](size=size)
    elif size is not None:
        raise ValueError("views: size goes with a preset's name; specs have their own")
    return Views([specs] if isinstance(specs, ViewSpec) else specs, seed)
