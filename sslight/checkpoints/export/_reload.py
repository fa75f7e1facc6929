"""The fresh process: load a file as its users do, and compare embeddings.

Run as a script beside the files, without importing sslight unless the loading code does.
"""

from __future__ import annotations

import json
import runpy
import sys
from importlib.metadata import PackageNotFoundError, version

import torch
from safetensors.torch import load_file


def main(code: str, probe: str, packages: list[str]) -> None:
    """Run ``code``, feed its ``model`` the probe's images, print how far its embeddings are off."""
    model = runpy.run_path(code)["model"]
    tensors = load_file(probe)
    with torch.no_grad():
        embedding = model(tensors["images"])
    expected = tensors["embedding"]
    if embedding.shape != expected.shape:
        raise ValueError(f"shape {list(embedding.shape)} in place of {list(expected.shape)}")
    found = {
        "difference": float((embedding - expected).abs().max()),
        "largest": float(expected.abs().max()),
        "versions": {name: _version(name) for name in packages},
    }
    print(json.dumps(found))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "of unknown version"


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
