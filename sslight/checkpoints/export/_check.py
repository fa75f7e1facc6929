"""Whether a written file gives the embeddings that were there before: asked of a fresh process."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from sslight.checkpoints.export.base import Reader
from sslight.checkpoints.export.torch_export import example
from sslight.checkpoints.loaded import LoadedBackbone

#: Largest difference allowed, as a share of the largest embedding value. Runtimes sum in other
#: orders (about 1e-6); a wrong weight shows at 1e-2 and above.
TOLERANCE = 1e-4
_IMAGES = 3
_SCRIPT = Path(__file__).with_name("_reload.py")
_RUN = (
    "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
)


@dataclass(frozen=True)
class Check:
    """What came of loading the files again.

    Attributes:
        done: Whether it was tried; ``reason`` says why not.
        proof: What was run.
        images: Number of images compared.
        difference: Largest difference of an embedding's number.
        largest: Largest of those numbers.
        versions: Of the packages that read the files.
        reason: Why it was not tried.
    """

    done: bool
    proof: str = ""
    images: int = 0
    difference: float = 0.0
    largest: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)
    reason: str = ""

    def __str__(self) -> str:
        if not self.done:
            return f"Not checked: {self.reason}"
        versions = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        return (
            f"Loaded again in a fresh process by {self.proof}"
            + (f" ({versions})" if versions else "")
            + f": {self.images} images, embeddings differ by at most {self.difference:.1e} "
            f"(their largest number is {self.largest:.3g})."
        )


def check_files(loaded: LoadedBackbone, folder: Path, code: str, reader: Reader) -> Check:
    """Load what was written into ``folder`` in a fresh process and compare embeddings.

    Args:
        loaded: What was written.
        folder: Where the files are.
        code: Python code that makes ``model``.
        reader: What has to be installed for it.

    Raises:
        RuntimeError: The files do not load, or give other embeddings.
    """
    absent = [name for name in reader.packages if importlib.util.find_spec(name) is None]
    if absent:
        return Check(False, reason=f"{', '.join(absent)} is not installed: pip install {absent[0]}")
    with tempfile.TemporaryDirectory(prefix="sslight-check-") as scratch:
        script, probe = Path(scratch) / "load.py", Path(scratch) / "probe.safetensors"
        script.write_text(code, encoding="utf-8")
        save_file(_probe(loaded), probe)
        found = _run(folder, [str(script), str(probe), *reader.packages])
    check = Check(True, reader.proof, _IMAGES, **found)
    # Written so that NaN fails, too.
    if not check.difference <= TOLERANCE * max(check.largest, 1e-6):
        raise RuntimeError(f"The written files give other embeddings. {check}")
    return check


def _probe(loaded: LoadedBackbone) -> dict[str, torch.Tensor]:
    images = example(loaded, _IMAGES)
    with torch.no_grad():
        embedding = loaded.backbone(images)
    return {"images": images, "embedding": embedding.float().contiguous()}


def _run(folder: Path, words: list[str]) -> dict[str, Any]:
    path = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run(  # noqa: S603 (our own script, our own code)
        [sys.executable, "-c", _RUN, str(_SCRIPT), *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise RuntimeError(f"The written files do not load again:\n{done.stderr.strip()[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
