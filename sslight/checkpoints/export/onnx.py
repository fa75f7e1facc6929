"""ONNX, for any runtime; one graph of any batch size, images of the view's size."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

import torch

from sslight.checkpoints.export.base import Format, Reader
from sslight.checkpoints.export.torch_export import example, graph_of, the_batch
from sslight.checkpoints.loaded import LoadedBackbone


class Onnx(Format):
    """An ONNX graph from normalised images ``[B, C, H, W]`` to embeddings ``[B, D]``."""

    def reader(self, loaded: LoadedBackbone) -> Reader:
        """Name ONNX; onnxruntime checks."""
        return Reader("onnx", ("onnxruntime",), "onnxruntime")

    def write(self, loaded: LoadedBackbone, folder: Path) -> None:
        """Write ``model.onnx``."""
        _need("onnx", "onnxscript")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's notes about itself
            torch.onnx.export(
                graph_of(loaded),
                (example(loaded),),
                str(folder / "model.onnx"),
                input_names=["images"],
                output_names=["embedding"],
                dynamic_shapes=the_batch(),
                dynamo=True,
                external_data=False,
                verbose=False,
            )

    def usage(self, loaded: LoadedBackbone) -> str:
        """Run by onnxruntime."""
        return (
            "import onnxruntime\nimport torch\n\n"
            'session = onnxruntime.InferenceSession("model.onnx")\n\n\n'
            "def model(images):\n"
            '    (embedding,) = session.run(None, {"images": images.numpy()})\n'
            "    return torch.from_numpy(embedding)\n"
        )


def _need(*packages: str) -> None:
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    if absent:
        raise ImportError(
            f'Writing ONNX needs {" and ".join(absent)}. Install with: pip install "sslight[onnx]"'
        )
