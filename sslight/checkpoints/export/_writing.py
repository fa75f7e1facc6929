"""An export from end to end: refuse what cannot fit, write, check, show the folder."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from sslight.backbones.inputs import image_channels
from sslight.backbones.spec import spec_of
from sslight.checkpoints.export._card import Provenance, card
from sslight.checkpoints.export._check import Check, check_files
from sslight.checkpoints.export._transform import check_view, write_transform
from sslight.checkpoints.export.base import Format
from sslight.checkpoints.loaded import LoadedBackbone
from sslight.checkpoints.record import weights_digest
from sslight.errors import RefusedRunError
from sslight.utils import sync_folder

_RECORD = "export.json"


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        folder: Where.
        to: The format.
        files: Names of the files.
        check: What came of loading them again.
        usage: How to load them.
    """

    folder: Path
    to: str
    files: list[str]
    check: Check
    usage: str

    def __str__(self) -> str:
        code = textwrap.indent(self.usage, "    ")
        return (
            f"{self.folder}: {', '.join(self.files)}\n{self.check}\n\nIn that folder:\n\n{code}"
        ).rstrip()


def write_export(
    loaded: LoadedBackbone,
    to: str,
    folder: str | Path,
    formats: Mapping[str, Format],
    provenance: Provenance | None = None,
) -> Exported:
    """Write a backbone in a format, with its transform and card, once a fresh process has read it.

    Args:
        loaded: The backbone, on the CPU, and its evaluation view.
        to: Name of the format.
        folder: Where to; an earlier export there is replaced, other folders must be empty.
        formats: All formats by name.
        provenance: What the card tells about the training.

    Raises:
        RefusedRunError: The backbone does not fit the format (the message names those that it
            fits), the folder holds something else, or the view is no transform.
        RuntimeError: The written files give other embeddings; nothing is left behind.
    """
    layout, target = formats[to], Path(folder).expanduser()
    loaded.backbone.eval()
    _check_fits(loaded, to, formats)
    check_view(loaded.view)
    _check_free(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".sslight-export-", dir=target.parent) as scratch:
        made = Path(scratch)
        layout.write(loaded, made)
        check = check_files(loaded, made, layout.check(loaded), layout.reader(loaded))
        write_transform(loaded, made, image_channels(loaded.backbone))
        sha256 = weights_digest(loaded.backbone.state_dict())
        text = card(loaded, layout, check, sha256, provenance)
        (made / "README.md").write_text(text, encoding="utf-8")
        record = {"format": to, "source": loaded.source, "sha256": sha256, "check": asdict(check)}
        (made / _RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        files = _move(made, target)
    return Exported(target, to, files, check, layout.usage(loaded))


def _check_fits(loaded: LoadedBackbone, to: str, formats: Mapping[str, Format]) -> None:
    reason = formats[to].refusal(loaded)
    if reason is None:
        return
    fitting = [name for name, other in formats.items() if name != to and _fits(other, loaded)]
    spec = spec_of(loaded.backbone)
    name = spec.name if spec else type(loaded.backbone).__name__
    raise RefusedRunError(
        f"export: {name} cannot be written as {to}: {reason}. Formats that it fits: "
        f"{', '.join(fitting) or 'none'}."
    )


def _fits(layout: Format, loaded: LoadedBackbone) -> bool:
    try:
        return layout.refusal(loaded) is None
    except ImportError:  # a format whose library is not installed cannot be promised
        return False


def _check_free(target: Path) -> None:
    if target.is_dir() and any(target.iterdir()) and not (target / _RECORD).is_file():
        raise RefusedRunError(
            f"export: {target} holds something that is no export. Give another folder (--out), or "
            "empty this one."
        )
    if target.exists() and not target.is_dir():
        raise RefusedRunError(f"export: {target} is a file; give a folder (--out).")


def _move(made: Path, target: Path) -> list[str]:
    """Bring the files into the folder one by one, the record last; return their names."""
    target.mkdir(exist_ok=True)
    names = sorted((path.name for path in made.iterdir()), key=lambda name: (name == _RECORD, name))
    for name in names:
        shutil.copymode(made / _RECORD, made / name)  # safetensors writes for its owner only
    for name in names:
        os.replace(made / name, target / name)
    sync_folder(target)
    return names
