"""VISSL's DATA: sources, limits, batches."""

from __future__ import annotations

from typing import Any

from sslight.convert.size import global_batch
from sslight.convert.views import eval_view_of, views_of
from sslight.convert.vissl_tree import VisslTree

#: Names of torchvision's data sets, as VISSL writes them -> as torchvision does.
TORCHVISION = {name.lower(): name for name in ("CIFAR10", "CIFAR100", "STL10", "MNIST", "SVHN")}


def data_of(tree: VisslTree, method: str) -> dict[str, Any]:
    """Return the ``data`` section."""
    only_test = bool(tree.get("TEST_ONLY"))
    with_test = only_test or bool(tree.get("TEST_MODEL", True))
    found: dict[str, Any] = {}
    if only_test:
        tree.tell(
            "TEST_ONLY", "without data.train `fit` validates once; usually `sslight eval` is meant."
        )
        tree.section("DATA.TRAIN")
    else:
        found["train"] = _source(tree, "TRAIN")
    if with_test:
        found["test"] = _source(tree, "TEST")
    elif tree.has("DATA.TEST"):
        tree.section("DATA.TEST")
    found |= {} if only_test else {"views": views_of(tree, method)}
    found |= {"eval_view": eval_view_of(tree)} if with_test else {}
    found["batch_size"] = global_batch(tree)
    found |= _rest(tree, only_test=only_test, with_test=with_test)
    return {key: value for key, value in found.items() if value is not None}


def _rest(tree: VisslTree, *, only_test: bool, with_test: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    workers = tree.get("DATA.NUM_DATALOADER_WORKERS")
    found |= {"workers": int(workers)} if workers is not None else {}
    found |= {"pin_memory": False} if tree.get("DATA.PIN_MEMORY") is False else {}
    found |= {} if only_test else _limit(tree, "TRAIN", "limit")
    found |= _limit(tree, "TEST", "test_limit") if with_test else {}
    on_bad = "DATA.TRAIN.ENABLE_QUEUE_DATASET"
    if not only_test:
        tree.tell(
            "DATA.TRAIN",
            "an unreadable image was trained on in grey; here it is replaced by another one, with "
            "that one's label, named and counted (`on_error: raise` would stop instead).",
        )
        tree.get(on_bad)
        found["on_error"] = "replace"
    per_device = tree.get("DATA.TEST.BATCHSIZE_PER_REPLICA") if with_test else None
    return found | ({"eval_batch_size": int(per_device)} if per_device else {})


def _source(tree: VisslTree, split: str) -> dict[str, Any]:
    """Return a source; VISSL's catalog of data sets is not read, so a path may be ``???``."""
    d = f"DATA.{split}"
    sources = tree.get(f"{d}.DATA_SOURCES", []) or ["disk_folder"]
    paths, labels = tree.get(f"{d}.DATA_PATHS", []), tree.get(f"{d}.LABEL_PATHS", [])
    names = tree.get(f"{d}.DATASET_NAMES", [])
    for key in ("LABEL_SOURCES", "LABEL_TYPE", "BASE_DATASET"):
        tree.get(f"{d}.{key}")
    if len(sources) > 1:
        tree.tell(f"{d}.DATA_SOURCES", "several at once: one source gives the images here.")
    kind = str(sources[0])
    if not paths and kind in ("disk_folder", "disk_filelist"):
        tree.tell(
            f"{d}.DATASET_NAMES",
            f"{', '.join(map(str, names)) or 'no name'}: there is no catalog; write the path into "
            f"data.{'train' if split == 'TRAIN' else 'test'} where it says ???.",
        )
    path = str(paths[0]) if paths else "???"
    if kind == "disk_folder":
        return {"name": "folder", "root": path}
    if kind == "disk_filelist":
        return _filelist(tree, d, path, labels)
    if kind == "torchvision_dataset":
        name = str(names[0]) if names else ""
        return {"name": "torchvision", "dataset": TORCHVISION.get(name.lower(), name), "root": path}
    if kind == "synthetic":
        return {"name": "fake", "num_images": 50_000}
    tree.tell(f"{d}.DATA_SOURCES", f"the source {kind!r} has no counterpart.")
    return {"name": "???"}


def _filelist(tree: VisslTree, d: str, path: str, labels: list[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"name": "filelist", "path": path}
    found |= {"labels": str(labels[0])} if labels else {}
    old, new = tree.get(f"{d}.REMOVE_IMG_PATH_PREFIX", ""), tree.get(f"{d}.NEW_IMG_PATH_PREFIX", "")
    return found | ({"prefix": {"old": str(old), "new": str(new)}} if old else {})


def _limit(tree: VisslTree, split: str, ours: str) -> dict[str, Any]:
    key = f"DATA.{split}.DATA_LIMIT"
    number = tree.whole(key, -1)
    options = {
        "balanced": bool(tree.get(f"{key}_SAMPLING.IS_BALANCED", False)),
        "skip": tree.whole(f"{key}_SAMPLING.SKIP_NUM_SAMPLES", 0),
        "seed": tree.whole(f"{key}_SAMPLING.SEED", 0),
    }
    told = {name: value for name, value in options.items() if value}
    return {ours: {"num": number, **told}} if number > 0 else {}
