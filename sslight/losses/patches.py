"""Images cut into patches: the targets of methods that predict pixels."""

from __future__ import annotations

from torch import Tensor


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """Cut ``[B, C, H, W]`` into patches ``[B, P, patch_size ** 2 * C]``.

    Patches come row by row, and inside a patch the pixels row by row with their channels together:
    the order is (row, column), (y, x, channel).

    Raises:
        ValueError: the patch size does not divide height and width.
    """
    batch, channels, height, width = images.shape
    if height % patch_size or width % patch_size:
        raise ValueError(
            f"patchify: images of {height} x {width} pixels cannot be cut into patches of "
            f"{patch_size} x {patch_size}; use sizes that are multiples of {patch_size}."
        )
    rows, columns = height // patch_size, width // patch_size
    cut = images.reshape(batch, channels, rows, patch_size, columns, patch_size)
    cut = cut.permute(0, 2, 4, 3, 5, 1)  # [B, rows, columns, y, x, C]
    return cut.reshape(batch, rows * columns, -1)


def check_prediction(name: str, prediction: Tensor, target: Tensor, mask: Tensor) -> None:
    """Raise if predicted pixels ``[B, P, N]`` or the mask ``[B, P]`` do not fit the target's."""
    if prediction.shape != target.shape or mask.shape != target.shape[:2]:
        raise ValueError(
            f"{name}: the images have patches {tuple(target.shape)} = [B, P, pixels x channels]; "
            f"the prediction is {tuple(prediction.shape)} and must be the same, the mask is "
            f"{tuple(mask.shape)} and must be {tuple(target.shape[:2])}."
        )
