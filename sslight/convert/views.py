"""VISSL's list of transforms to views."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from sslight.convert.vissl_tree import VisslTree

View = dict[str, Any]
Step = dict[str, Any]


def views_of(tree: VisslTree, method: str) -> Any:
    """Return ``data.views``: a list of specs, or a preset where the method cuts patches.

    None where the file has no transforms; the method's own views are then taken.
    """
    steps = tree.get("DATA.TRAIN.TRANSFORMS", [])
    if not steps:
        return None
    if method in ("pirl", "jigsaw"):
        return {"pirl": _pirl, "jigsaw": _jigsaw}[method](tree, steps)
    return _grouped(_all(tree, "DATA.TRAIN.TRANSFORMS", steps))


def eval_view_of(tree: VisslTree) -> View | None:
    """Return ``data.eval_view``, from the transforms of the test split."""
    key = "DATA.TEST.TRANSFORMS"
    steps = tree.get(key, [])
    if not steps or not any(step.get("name") == "CenterCrop" for step in steps):
        return None
    return _all(tree, key, steps)[0]


def _all(tree: VisslTree, key: str, steps: list[Step]) -> list[View]:
    """Apply what each transform means to the description of each view."""
    views: list[View] = [{"size": 224}]
    for step in steps:
        name = str(step.get("name"))
        if name in _IGNORED:
            continue
        if name in _COPIES:
            views = _COPIES[name](step)
        elif name in _CHANGES:
            chosen = step.get("indices") or range(len(views))
            for i in chosen:
                _CHANGES[name](views[i], step)
        elif name == "ImgPilMultiCropRandomApply":
            _by_probability(tree, key, views, step)
        else:
            tree.tell(f"{key}.{name}", "this transform has no counterpart and was left out.")
    return views


# ------------------------------------------------------------------ how many views

_IGNORED = {"ToTensor", "ImgToTensor", "ImgRotatePil", "ImgPatchesFromTensor", "ShuffleImgPatches"}


def _replicate(step: Step) -> list[View]:
    return [{"size": 224} for _ in range(int(step.get("num_times", 2)))]


def _multicrop(step: Step) -> list[View]:
    views = []
    largest = max(step["size_crops"])
    for count, size, scale in zip(
        step["num_crops"], step["size_crops"], step["crop_scales"], strict=True
    ):
        view: View = {"size": size} | ({"local": True} if size < largest else {})
        views += [{**view, "scale": [float(bound) for bound in scale]} for _ in range(count)]
    return views


_COPIES: dict[str, Callable[[Step], list[View]]] = {
    "ImgReplicatePil": _replicate,
    "ImgPilToMultiCrop": _multicrop,
}

# ------------------------------------------------------------------ what happens to a view


def _side(step: Step) -> int:
    size = step.get("size", 224)
    return int(size[0] if isinstance(size, list) else size)


def _random_resized_crop(view: View, step: Step) -> None:
    view["size"] = _side(step)
    view["scale"] = [float(bound) for bound in step.get("scale", (0.08, 1.0))]
    if "ratio" in step:
        view["ratio"] = [float(bound) for bound in step["ratio"]]


def _resize(view: View, step: Step) -> None:
    view["size"] = _side(step)
    view["resize"] = _side(step)
    view["crop"] = "center"


def _center_crop(view: View, step: Step) -> None:
    view |= {"size": _side(step), "crop": "center"}


def _flip(view: View, step: Step) -> None:
    view["flip"] = float(step.get("p", 0.5))


def _vertical_flip(view: View, step: Step) -> None:
    view["vertical_flip"] = float(step.get("p", 0.5))


def _distortion(view: View, step: Step) -> None:
    strength = float(step.get("strength", 1.0))
    view |= {"jitter": 0.8, **_colours(0.8 * strength, 0.2 * strength), "grey": 0.2}


def _random_jitter(view: View, step: Step) -> None:
    strength = float(step.get("strength", 1.0))
    view |= {"jitter": float(step.get("p", 0.8)), **_colours(0.8 * strength, 0.2 * strength)}


def _colours(strength: float, hue: float) -> View:
    strength, hue = round(strength, 6), round(hue, 6)
    return {"brightness": strength, "contrast": strength, "saturation": strength, "hue": hue}


def _jitter(view: View, step: Step) -> None:
    view["jitter"] = 1.0
    for name in ("brightness", "contrast", "saturation", "hue"):
        if step.get(name):
            view[name] = step[name]


def _photometric(view: View, step: Step) -> None:
    view["photometric"] = float(step.get("p", 0.66))


def _grey(view: View, step: Step) -> None:
    view["grey"] = float(step.get("p", 0.1))


def _blur(view: View, step: Step) -> None:
    view["blur"] = float(step.get("p", 0.5))
    sigma = [float(step.get("radius_min", 0.1)), float(step.get("radius_max", 2.0))]
    view |= {"blur_sigma": sigma} if sigma != [0.1, 2.0] else {}


def _solarize(view: View, step: Step) -> None:
    view["solarize"] = float(step["p"] if "p" in step else step.get("prob", 0.5))


def _normalise(view: View, step: Step) -> None:
    view |= {"mean": list(step["mean"]), "std": list(step["std"])}


_CHANGES: dict[str, Callable[[View, Step], None]] = {
    "RandomResizedCrop": _random_resized_crop,
    "Resize": _resize,
    "CenterCrop": _center_crop,
    "RandomCrop": _center_crop,
    "RandomHorizontalFlip": _flip,
    "RandomVerticalFlip": _vertical_flip,
    "ImgPilColorDistortion": _distortion,
    "ImgPilRandomColorJitter": _random_jitter,
    "ColorJitter": _jitter,
    "ImgPilRandomPhotometric": _photometric,
    "RandomGrayscale": _grey,
    "ImgPilGaussianBlur": _blur,
    "ImgPilRandomSolarize": _solarize,
    "Normalize": _normalise,
}
_RATES = {"ImgPilGaussianBlur": "blur", "ImgPilRandomSolarize": "solarize"}


def _by_probability(tree: VisslTree, key: str, views: list[View], step: Step) -> None:
    """A transform with a probability for each crop."""
    for inner in step.get("transforms", []):
        name = str(inner.get("name"))
        if name not in _RATES:
            tree.tell(f"{key}.{name}", "has one probability for all crops here; it was left out.")
            continue
        for view, probability in zip(views, step.get("prob", []), strict=False):
            if probability:
                _CHANGES[name](view, inner)
                view[_RATES[name]] = float(probability)


def _grouped(views: list[View]) -> list[View]:
    """Write equal neighbours once, with their count."""
    groups = [(view, len(list(same))) for view, same in itertools.groupby(views)]
    return [view if count == 1 else {"size": 0, "count": count} | view for view, count in groups]


# ------------------------------------------------------------------ methods that cut patches


def _pirl(tree: VisslTree, steps: list[Step]) -> View:
    found: View = {"name": "pirl"}
    for step in steps:
        if step.get("name") == "ImgPilToPatchesAndImage":
            found["size"] = int(step.get("crop_size_image", 224))
            found["patches_size"] = int(step.get("crop_size_patches", 255))
            found["scale"] = list(step.get("crop_scale_image", [0.08, 1.0]))
            found["patches_scale"] = list(step.get("crop_scale_patches", [0.6, 1.0]))
    view = _all(tree, "DATA.TRAIN.TRANSFORMS", [s for s in steps if "Patches" not in s["name"]])[0]
    strength = round(view.get("brightness", 0.0) / 0.4, 6)
    found |= {"strength": strength} if strength != 1 else {}
    found |= {"photometric": view["photometric"]} if view.get("photometric") else {}
    return found | {"grey": view.get("grey", 0.0)} | _normalisation(view)


def _jigsaw(tree: VisslTree, steps: list[Step]) -> View:
    view = _all(tree, "DATA.TRAIN.TRANSFORMS", steps)[0]
    tree.tell(
        "DATA.TRAIN.TRANSFORMS.RandomCrop",
        "the preset `jigsaw` cuts a square of at least half the image's area, where VISSL cuts as "
        "much as fits; `data.views.scale` changes that.",
    )
    return {"name": "jigsaw", "size": view["size"], "grey": view.get("grey", 0.0)} | _normalisation(
        view
    )


def _normalisation(view: View) -> View:
    return {key: view[key] for key in ("mean", "std") if key in view}
