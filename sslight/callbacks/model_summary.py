"""What is trained, and what one image costs: parameters, FLOPs, activations."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from sslight.backbones.inputs import image_channels
from sslight.utils import logger

_LAYERS = ("convolution", "mm", "addmm", "bmm", "baddbmm")


@dataclass(frozen=True)
class Cost:
    """What a forward pass costs.

    Attributes:
        flops: Floating-point operations of convolutions, matrix products and attention; a
            multiply-add counts as two.
        activations: Numbers put out by convolutions and matrix products.
    """

    flops: int
    activations: int


class ModelSummary(pl.Callback):
    """Say once, at the start, how large the model is and what the backbone does with one image.

    Lines go to the log, and for a new run ``model/parameters``, ``model/trainable``,
    ``model/flops`` and ``model/activations`` to the loggers, at step 0. The image is counted in
    evaluation mode on the meta device, which runs nothing (on a CPU copy where a backbone cannot do
    that), so batch-norm statistics, generators and the device stay as they are.

    Args:
        size: Height and width of the image; None for that of the first global view (224 where there
            is no data module).
    """

    def __init__(self, size: int | None = None) -> None:
        if size is not None and size < 1:
            raise ValueError(
                f"callback model_summary: got size={size}; give pixels from 1 or null."
            )
        self.size = size

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the summary, on rank 0."""
        if not trainer.is_global_zero:
            return
        counts = count_parameters(pl_module)
        for line in _parameter_lines(pl_module, counts):
            logger.info(line)
        metrics = {f"model/{key}": float(value) for key, value in counts.items()}
        backbone = getattr(pl_module, "backbone", None)
        if isinstance(backbone, nn.Module):
            metrics.update(self._cost(trainer, backbone))
        if trainer.global_step == 0:  # a resumed run has that row already
            for sink in trainer.loggers:
                sink.log_metrics(metrics, step=0)

    def _cost(self, trainer: pl.Trainer, backbone: nn.Module) -> dict[str, float]:
        size = self.size or _view_size(trainer)
        shape = (1, image_channels(backbone), size, size)
        try:
            cost = count_cost(backbone, torch.empty(shape, device="meta"))
        except Exception as error:  # any backbone may refuse; no reason to end a training
            logger.info("FLOPs of a %s image are not counted: %s", "x".join(map(str, shape)), error)
            return {}
        image = "x".join(map(str, shape[1:]))
        flops, activations = _short(cost.flops), _short(cost.activations)
        logger.info(
            "backbone: %s FLOPs, %s activations for one %s image", flops, activations, image
        )
        return {"model/flops": float(cost.flops), "model/activations": float(cost.activations)}


def count_parameters(module: nn.Module) -> dict[str, int]:
    """Numbers of parameters, shared ones once: ``parameters`` and ``trainable`` of them."""
    parameters = list(module.parameters())
    return {
        "parameters": sum(p.numel() for p in parameters),
        "trainable": sum(p.numel() for p in parameters if p.requires_grad),
    }


def count_cost(module: nn.Module, images: Tensor) -> Cost:
    """What ``module(images)`` costs in evaluation mode; the module stays as it is.

    Args:
        module: Any module of one input.
        images: ``[B, C, H, W]`` on the meta device.
    """
    if any(hasattr(p, "full_tensor") for p in module.parameters()):
        raise NotImplementedError("the parameters are sharded over ranks")
    try:
        return _count(copy.deepcopy(module).to("meta").eval(), images)
    except (RuntimeError, NotImplementedError):  # it makes tensors of its own, or reads values
        return _count(copy.deepcopy(module).cpu().eval(), torch.zeros(images.shape))


def _count(module: nn.Module, images: Tensor) -> Cost:
    # Gradients stay on: without them attention takes a fused path that no counter sees.
    flops, outputs = FlopCounterMode(display=False), _Outputs()
    with torch.random.fork_rng(devices=[]), flops, outputs:
        module(images)
    return Cost(int(flops.get_total_flops()), outputs.numbers)


class _Outputs(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the sizes of what convolutions and matrix products put out."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.numbers = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ in _LAYERS:
            self.numbers += result.numel()
        return result


def _view_size(trainer: pl.Trainer) -> int:
    maker = getattr(getattr(trainer, "datamodule", None), "maker", None)
    return int(getattr(maker, "size", 224))


def _parameter_lines(module: nn.Module, counts: dict[str, int]) -> list[str]:
    buffers = sum(buffer.numel() for buffer in module.buffers())
    lines = [
        f"{type(module).__name__}: {_short(counts['parameters'])} parameters, "
        f"{_short(counts['trainable'])} of them trainable; {_short(buffers)} numbers in buffers"
    ]
    for name, child in module.named_children():
        of_child = count_parameters(child)
        if of_child["parameters"]:
            frozen = "" if of_child["trainable"] else ", not trained by gradient"
            lines.append(
                f"  {name} ({type(child).__name__}): {_short(of_child['parameters'])}{frozen}"
            )
    return lines


def _short(number: int) -> str:
    """12345678 -> "12.3 M"."""
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / limit:.3g} {unit}"
    return str(number)
