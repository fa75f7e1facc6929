"""How large a VISSL run is: devices, batch, steps of an epoch."""

from __future__ import annotations

from sslight.convert.vissl_tree import VisslTree

#: Training images of the data sets that VISSL's own files name.
KNOWN_SIZES = {
    "imagenet1k": 1_281_167,
    "imagenet22k": 14_197_087,
    "places205": 2_448_873,
    "inaturalist2018": 437_513,
    "cifar10": 50_000,
    "cifar100": 50_000,
}


def devices(tree: VisslTree) -> int:
    """Processes on each machine."""
    return tree.whole("DISTRIBUTED.NUM_PROC_PER_NODE", 8)


def nodes(tree: VisslTree) -> int:
    """Machines."""
    return tree.whole("DISTRIBUTED.NUM_NODES", 1)


def global_batch(tree: VisslTree) -> int:
    """Images of an optimizer step, over all processes."""
    per_device = tree.whole("DATA.TRAIN.BATCHSIZE_PER_REPLICA", 256)
    return per_device * devices(tree) * nodes(tree)


def epochs_of(tree: VisslTree, iterations: float, key: str) -> float | None:
    """Turn iterations into epochs; None, and a note, where the number of images is not known."""
    if not iterations:
        return 0
    images = _images(tree)
    if images:
        return round(iterations / (images // global_batch(tree)), 2)
    tree.tell(
        key,
        f"counts iterations ({iterations:g}), and sslight counts epochs here; the file does not "
        "say how many images there are, so the key was left out. Set it yourself.",
    )
    return None


def _images(tree: VisslTree) -> int:
    limit = tree.whole("DATA.TRAIN.DATA_LIMIT", -1)
    if limit > 0:
        return limit
    name = tree.get("LOSS.name", "")
    told = tree.whole(f"LOSS.{name}.num_train_samples", -1)
    if told > 0:
        return told
    names = tree.get("DATA.TRAIN.DATASET_NAMES", [])
    first = str(names[0]).removesuffix("_folder").removesuffix("_filelist") if names else ""
    return KNOWN_SIZES.get(first, 0)
