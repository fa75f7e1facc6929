"""sslight's own file: safetensors that say which network they belong to."""

from __future__ import annotations

from pathlib import Path

from sslight.backbones.spec import spec_of
from sslight.checkpoints.export.base import Format, Reader
from sslight.checkpoints.loaded import LoadedBackbone
from sslight.checkpoints.save import save_backbone


class Safetensors(Format):
    """One safetensors file with sslight's names; its header holds the network and the view."""

    def reader(self, loaded: LoadedBackbone) -> Reader:
        """Name sslight."""
        return Reader("sslight", proof="sslight.load_backbone")

    def write(self, loaded: LoadedBackbone, folder: Path) -> None:
        """Write ``model.safetensors`` and its description, ``model.json``."""
        save_backbone(loaded.backbone, folder / "model", loaded.meta, view=loaded.view)

    def refusal(self, loaded: LoadedBackbone) -> str | None:
        """Networks of the user's own cannot be rebuilt from a name."""
        if not loaded.backbone.state_dict():
            return "it has no weights"
        if spec_of(loaded.backbone) is None:
            return "it is a network of your own, which a file of weights cannot name"
        return None

    def usage(self, loaded: LoadedBackbone) -> str:
        """Load by sslight, which also knows the view: ``model.embed(paths)``."""
        return 'import sslight\n\nmodel = sslight.load_backbone("model.safetensors")\n'
