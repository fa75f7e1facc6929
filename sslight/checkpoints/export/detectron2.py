"""detectron2's ResNets: its pickle of NumPy arrays, under its names."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
from torch import nn

from sslight.backbones.resnet import ResNet
from sslight.backbones.spec import spec_of
from sslight.checkpoints.export._renames import RESNETS, resnet_to_detectron2
from sslight.checkpoints.export.base import Format, Reader, other_input, plain_state
from sslight.checkpoints.export.torchvision import Torchvision, building
from sslight.checkpoints.loaded import LoadedBackbone


class Detectron2(Format):
    """A file for detectron2's ``MODEL.WEIGHTS``: ResNets in their ImageNet form.

    Names match the ends of detectron2's (``matching_heuristics``), so one file serves C4 and FPN
    models. detectron2 itself is not run by the check: the names are taken back to torchvision's.
    """

    def reader(self, loaded: LoadedBackbone) -> Reader:
        """Name detectron2."""
        return Reader(
            "detectron2",
            ("torchvision",),
            "the names taken back to torchvision's (detectron2 itself is not run)",
        )

    def refusal(self, loaded: LoadedBackbone) -> str | None:
        """Only ResNets in the form that torchvision has too."""
        spec = spec_of(loaded.backbone)
        if not isinstance(loaded.backbone, ResNet) or spec is None or spec.name not in RESNETS:
            name = spec.name if spec else "a network of your own"
            return f"detectron2 has no {name}: its ResNets have 18, 34, 50, 101 or 152 layers"
        if spec.kwargs.get("extra"):
            return "detectron2's ResNets are built without further arguments"
        return other_input(loaded) or Torchvision().refusal(loaded)

    def write(self, loaded: LoadedBackbone, folder: Path) -> None:
        """Write ``model.pkl``."""
        content = {
            "model": detectron2_arrays(loaded.backbone),
            "__author__": "sslight",
            "matching_heuristics": True,
        }
        with open(folder / "model.pkl", "wb") as file:
            pickle.dump(content, file)

    def usage(self, loaded: LoadedBackbone) -> str:
        """The keys of detectron2's config."""
        spec = spec_of(loaded.backbone)
        depth, groups, per_group = RESNETS[spec.name if spec else ""]
        mean, std = loaded.view.mean or (0.0,), loaded.view.std or (1.0,)
        keys = {
            "cfg.MODEL.WEIGHTS": "model.pkl",
            "cfg.MODEL.RESNETS.DEPTH": depth,
            "cfg.MODEL.RESNETS.NUM_GROUPS": groups,
            "cfg.MODEL.RESNETS.WIDTH_PER_GROUP": per_group,
            "cfg.MODEL.RESNETS.STRIDE_IN_1X1": False,
            "cfg.MODEL.RESNETS.RES2_OUT_CHANNELS": 64 if depth < 50 else 256,
            "cfg.INPUT.FORMAT": "RGB",
            "cfg.MODEL.PIXEL_MEAN": _of_255(mean),
            "cfg.MODEL.PIXEL_STD": _of_255(std),
        }
        lines = [f"{key} = {value!r}\n" for key, value in keys.items()]
        return "".join(["from detectron2.config import get_cfg\n\ncfg = get_cfg()\n", *lines])

    def check(self, loaded: LoadedBackbone) -> str:
        """Read the pickle back into torchvision's network."""
        spec = spec_of(loaded.backbone)
        if spec is None:
            raise ValueError("detectron2 has no network of your own.")
        return (
            "import pickle\nimport torch\nimport torchvision\n"
            "from sslight.checkpoints.export._renames import RESNETS, resnet_from_detectron2\n\n"
            'arrays = pickle.load(open("model.pkl", "rb"))["model"]\n'
            "state = {resnet_from_detectron2(n): torch.from_numpy(a) for n, a in arrays.items()}\n"
            + building(spec)
            + "counters = {n for n in model.state_dict() if n.endswith('num_batches_tracked')}\n"
            "missing = model.load_state_dict(state, strict=False)\n"
            "if missing.unexpected_keys or set(missing.missing_keys) - counters:\n"
            "    raise ValueError(missing)\n"
            "model.eval()\n"
        )


def detectron2_arrays(network: nn.Module) -> dict[str, np.ndarray]:
    """The weights as arrays under detectron2's names; its batch norms count no batches."""
    return {
        resnet_to_detectron2(name): tensor.numpy()
        for name, tensor in plain_state(network).items()
        if not name.endswith("num_batches_tracked")
    }


def _of_255(values: tuple[float, ...]) -> list[float]:
    three = values * 3 if len(values) == 1 else values
    return [round(255 * value, 4) for value in three]
