"""A folder for the Hugging Face hub: ``config.json``, ``model.safetensors`` and the model card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sslight.backbones.inputs import image_channels
from sslight.backbones.spec import spec_of
from sslight.checkpoints.export.base import Format, Reader
from sslight.checkpoints.export.safetensors import Safetensors
from sslight.checkpoints.export.timm import Timm, TimmModel, timm_model
from sslight.checkpoints.loaded import LoadedBackbone


class HuggingFace(Format):
    """A folder to upload: timm (and transformers through timm) reads it where timm has the network.

    Where timm has not, the folder holds sslight's own file, which ``sslight.load_backbone`` reads.
    """

    def reader(self, loaded: LoadedBackbone) -> Reader:
        """Name timm, or sslight where timm has no such network."""
        if fitting_timm(loaded) is None:
            return Safetensors().reader(loaded)
        return Reader("timm", ("timm",), "timm's local-dir loader")

    def refusal(self, loaded: LoadedBackbone) -> str | None:
        """Whatever sslight's own file can hold."""
        return Safetensors().refusal(loaded)

    def write(self, loaded: LoadedBackbone, folder: Path) -> None:
        """Write ``model.safetensors`` and ``config.json``."""
        model = fitting_timm(loaded)
        if model is None:
            Safetensors().write(loaded, folder)
            config = json.loads((folder / "model.json").read_text())
            config["library_name"] = "sslight"
        else:
            Timm().write(loaded, folder)
            config = timm_config(loaded, model)
        (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")

    def usage(self, loaded: LoadedBackbone) -> str:
        """By whom the folder is read."""
        if fitting_timm(loaded) is None:
            return Safetensors().usage(loaded)
        return (
            "import timm\n\n"
            'model = timm.create_model("local-dir:.", pretrained=True).eval()\n'
            '# On the hub: timm.create_model("hf-hub:you/name", pretrained=True)\n'
        )


def fitting_timm(loaded: LoadedBackbone) -> TimmModel | None:
    """Return timm's call for the network, if timm is installed and has it exactly."""
    try:
        return None if Timm().refusal(loaded) else timm_model(loaded.backbone)
    except ImportError:
        return None


def timm_config(loaded: LoadedBackbone, model: TimmModel) -> dict[str, Any]:
    """Return timm's ``config.json``: the model, its arguments, and what its images are like."""
    view, spec = loaded.view, spec_of(loaded.backbone)
    channels = image_channels(loaded.backbone)
    return {
        "architecture": model.name,
        "num_classes": 0,
        "num_features": loaded.embed_dim,
        "model_args": model.arguments,
        "pretrained_cfg": {
            "tag": spec.name.replace("/", "_") if spec else "",
            "custom_load": False,
            "input_size": [channels, view.size, view.size],
            "fixed_input_size": "img_size" in model.arguments,
            "interpolation": view.interpolation,
            "crop_pct": view.size / view.resized,
            "crop_mode": "center",
            "mean": list(view.mean or (0.0,) * channels),
            "std": list(view.std or (1.0,) * channels),
            "num_classes": 0,
        },
    }
