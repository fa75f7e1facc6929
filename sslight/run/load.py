"""A method back from its run."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from sslight import config as configs
from sslight.callbacks.checkpoint import checkpoints
from sslight.module import SSLModule
from sslight.run import assemble


def load_method(
    run: str | os.PathLike[str], checkpoint: str | Path | None = None, trust: tuple[str, ...] = ()
) -> SSLModule:
    """Rebuild a method from a run's ``config.yaml`` and load its newest weights.

    Args:
        run: The run's folder, or what ``fit`` returned.
        checkpoint: A certain checkpoint; None for the newest.
        trust: Packages whose classes the config may name.
    """
    folder = Path(run)
    found = checkpoints(folder / "checkpoints")
    if checkpoint is None and not found:
        raise FileNotFoundError(
            f"{folder / 'checkpoints'} holds no checkpoint: has the run started?"
        )
    config = configs.checked(configs.load(folder), "fit", trust)
    method = assemble.build_method(config, trust)
    data = assemble.build_data(config, trust)
    method.on_data(data.num_train_images, data.num_classes)
    loaded = torch.load(checkpoint or found[-1], map_location="cpu", weights_only=True)
    method.load_state_dict(loaded["state_dict"])
    return method
