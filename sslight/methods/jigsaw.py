"""Jigsaw: name the permutation in which the patches of an image come."""

from __future__ import annotations

from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from sslight.augment.draws import seed_of, uniforms
from sslight.backbones.inputs import see
from sslight.losses.classification import cross_entropy
from sslight.module import SSLModule
from sslight.modules.patches import jittered_patches, reordered
from sslight.modules.permutations import Criterion, permutation_set
from sslight.optim import Recipe
from sslight.types import Batch, StepOutput

#: Sets the draws of permutations apart from others made of the run's seed.
_STREAM = 0x6A6967


class Jigsaw(SSLModule):
    """Jigsaw puzzles (Noroozi & Favaro, 2016, arXiv:1603.09246), as in Goyal et al. (2019).

    A view is cut into jittered patches, nine in the papers, which come in one of a set of
    permutations that are far from each other. The backbone embeds each patch by itself; a head
    narrows each embedding, joins them all, and classifies which permutation it is, by softmax
    cross-entropy. Evaluated is the backbone.

    In a YAML: ``method: {name: jigsaw, num_permutations: 2000}`` with views from
    ``{name: jigsaw}``.

    Args:
        backbone: Maps images of the size of a patch to ``[B, D]``.
        optim: The optimisation recipe.
        num_permutations: Classes; the papers have 100 to 10000.
        criterion: ``average`` or ``minimum``: the Hamming distance to the permutations chosen
            before that the next one maximises.
        grid: Patches along each side of a view: 3, or 2 for small images, with at most 24
            permutations.
        hidden_dim: Width to which each patch's embedding is narrowed.
        tile_size: Side of a patch in pixels; None for 64/85 of a cell.
        normalize_patches: The backbone sees each channel of each patch standardised, so that its
            brightness does not tell its place; and it sees whole images so from then on.

    Note:
        Head and data are those of Goyal et al. (arXiv:1905.01235) and VISSL: batch norm in the head
        and no normalisation of single patches, which the first paper has (``normalize_patches``).
        VISSL loads its permutations from a file; here they are made when the method is built, and
        kept with its weights. The embedding handed to probes is that of all patches.
    """

    needs: ClassVar[tuple[str, ...]] = ("views", "index")
    default_views: ClassVar[str] = "jigsaw"
    permutations: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        optim: Recipe | None = None,
        *,
        num_permutations: int = 2000,
        criterion: Criterion = "average",
        grid: int = 3,
        hidden_dim: int = 1000,
        tile_size: int | None = None,
        normalize_patches: bool = False,
    ) -> None:
        super().__init__(backbone, optim)
        if num_permutations < 2:
            raise ValueError(f"jigsaw: num_permutations is {num_permutations}; use 2 or more.")
        if grid not in (2, 3):
            raise ValueError(f"jigsaw: grid is {grid}; use 2 or 3.")
        self.grid, self.tile_size = grid, tile_size
        see(self.backbone, "standardised" if normalize_patches else None)
        chosen = permutation_set(num_permutations, grid**2, criterion=criterion)
        self.register_buffer("permutations", chosen)
        self.patch_head = nn.Sequential(
            nn.Linear(cast(int, self.backbone.embed_dim), hidden_dim, bias=False),
            nn.BatchNorm1d(hidden_dim),
            nn.ReLU(inplace=True),
        )
        self.classifier = nn.Linear(grid**2 * hidden_dim, num_permutations)

    def training_loss(self, batch: Batch) -> StepOutput:
        """Compute the cross-entropy of the permutations of the batch's puzzles."""
        if len(batch["views"]) != 1:
            raise ValueError(
                f"jigsaw: each image has {len(batch['views'])} views, but one is cut into patches. "
                "Use views that make one, such as data.views: {name: jigsaw}."
            )
        patches, permutation = self._puzzles(batch["views"][0], batch["index"])
        embedding = self.backbone(patches.transpose(0, 1).flatten(0, 1))  # [PB, D], place-major
        narrowed = self.patch_head(embedding).unflatten(0, (-1, len(patches)))  # [P, B, H]
        logits = self.classifier(narrowed.transpose(0, 1).flatten(1))  # [B, permutations]
        right = (logits.detach().argmax(1) == permutation).to(torch.float32).mean()
        loss = cross_entropy(logits, permutation)
        return StepOutput(loss, embedding=embedding, logs={"top1": right})

    def _puzzles(self, view: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """Give shuffled patches ``[B, P, C, h, w]`` and the numbers of their permutations."""
        seed, epoch, size = self.seed, self.clock.epoch, self.tile_size
        patches = jittered_patches(view, index, seed=seed, epoch=epoch, size=size, grid=self.grid)
        draws = uniforms(seed_of(seed, _STREAM), epoch, index, 0, 1)[:, 0]
        permutation = (draws * len(self.permutations)).to(torch.int64)
        return reordered(patches, self.permutations[permutation]), permutation
