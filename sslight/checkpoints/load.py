"""A trained backbone back from a run, a file or a name, ready to embed images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sslight.backbones import BACKBONES, builder
from sslight.backbones.inputs import see
from sslight.backbones.layers import LayerReader
from sslight.backbones.protocol import as_backbone
from sslight.backbones.spec import BackboneSpec, did_you_mean, spec_of
from sslight.checkpoints.formats import read_pickle, read_state
from sslight.checkpoints.images import Images, as_pixels
from sslight.checkpoints.init import init_backbone, load_state
from sslight.checkpoints.record import Record, read_record, view_of
from sslight.checkpoints.views import own_view

Which = Literal["main", "ema", "student"]
_FILES = {"main": "backbone.safetensors", "ema": "backbone_ema.safetensors"}


class LoadedBackbone(nn.Module):
    """A backbone in eval mode with the view it is to be fed.

    Attributes:
        backbone: The network itself.
        view: Spec of the evaluation view.
        embed_dim: Width of the embeddings.
        source: Where it came from.
        meta: What its writer kept (run, step, method, ...).
    """

    def __init__(
        self,
        backbone: nn.Module,
        view: Any = None,
        *,
        source: str = "",
        meta: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        self.backbone = backbone.eval()
        self.view = view if view is not None else _default_view(backbone)
        self.embed_dim = int(backbone.embed_dim)  # type: ignore[arg-type]
        self.source, self.meta = source, dict(meta or {})
        self.backbone_spec = spec_of(backbone)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised float images ``[B, C, H, W]`` to embeddings ``[B, D]``."""
        out: Tensor = self.backbone(images)
        return out

    def transform(self, images: Images) -> Tensor:
        """Images as :meth:`embed` takes them to the network's input ``[N, C, H, W]``."""
        from sslight.augment.views import make_views

        maker = make_views([self.view], seed=0)
        pixels = as_pixels(images)
        batch = maker.fetch(pixels, 0, torch.arange(len(pixels)))
        views: list[Tensor] = maker.apply(_to(batch, self._device()))["views"]
        return views[0]

    def embed(
        self,
        images: Images,
        *,
        batch_size: int = 64,
        layers: Mapping[str, str] | Sequence[str] | None = None,
    ) -> Any:
        """Embeddings ``[N, D]`` of images, on the CPU; with ``layers`` a dict of features.

        Args:
            images: Paths, PIL images, uint8 tensors ``[C, H, W]`` of any sizes (a list or one), or
                one uint8 tensor ``[N, C, H, W]``.
            batch_size: Images per forward.
            layers: As in :func:`sslight.backbones.layers.resolve_layers`.
        """
        items = images if isinstance(images, Sequence | Tensor) else [images]
        if isinstance(images, str) or (isinstance(images, Tensor) and images.ndim == 3):
            items = [images]
        reader = LayerReader(self.backbone, layers)
        self.backbone.eval()
        parts = []
        with torch.inference_mode():
            for start in range(0, len(items), batch_size):
                features = reader(self.transform(items[start : start + batch_size]))
                parts.append({k: v.float().cpu() for k, v in features.items()})
        if not parts:
            raise ValueError("embed: no images were given.")
        # Made outside inference mode, so that a caller may train on them.
        joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        return joined if layers is not None else joined[reader.layers[0].name]

    def _device(self) -> torch.device:
        tensors = [*self.backbone.parameters(), *self.backbone.buffers()]
        return tensors[0].device if tensors else torch.device("cpu")


def load_backbone(
    source: str | Path | nn.Module,
    *,
    weights: Which = "main",
    backbone: nn.Module | None = None,
    view: Any = None,
    init: str | Path | None = None,
    device: torch.device | str = "cpu",
) -> LoadedBackbone:
    """Load a backbone for use: ``load_backbone("runs/x").embed(paths)``.

    Args:
        source: A run folder, a ``.safetensors`` file of ours, a checkpoint (``.ckpt``) of ours, a
            backbone's name, or a module.
        weights: ``main`` is what the method evaluates, ``ema`` the average that ``ema_weights``
            kept, ``student`` the trained network where that is another one.
        backbone: The network to fill, where the file cannot name it (a module of your own).
        view: Spec of the evaluation view; default the file's.
        init: Weights for a backbone's name: a path, an address with checksum, or ``random``.
        device: Where to put it.

    Raises:
        FileNotFoundError: no such run, file or name.
        ValueError: weights do not fit, or a bare name would have random weights.
    """
    if isinstance(source, nn.Module):
        network, record = as_backbone(source), None
    else:
        network, record = _open(str(source), weights, backbone, init)
    loaded = LoadedBackbone(
        network,
        view if view is not None else view_of(record.view if record else None),
        source=str(source) if not isinstance(source, nn.Module) else type(source).__name__,
        meta=record.meta if record else None,
    )
    return loaded.to(device)


def _open(
    source: str, weights: Which, backbone: nn.Module | None, init: str | Path | None
) -> tuple[nn.Module, Record | None]:
    path = Path(source).expanduser()
    if path.is_dir():
        path = _in_run(path, weights)
    if path.is_file():
        return (
            _from_checkpoint(path, weights, backbone)
            if path.suffix == ".ckpt"
            else (_from_safetensors(path, backbone))
        )
    if source in BACKBONES or source.startswith("timm/"):
        return _from_name(source, init), None
    raise FileNotFoundError(
        f"There is no run folder or file {source!r}, nor a backbone of that name."
        f"{did_you_mean(source, BACKBONES)}"
    )


def _in_run(run: Path, weights: Which) -> Path:
    """The file of a run folder that holds the weights asked for."""
    if weights in _FILES and (run / _FILES[weights]).is_file():
        return run / _FILES[weights]
    if weights == "ema":
        raise FileNotFoundError(
            f"{run} has no {_FILES['ema']}: train with `callbacks: {{ema_weights: {{}}}}`."
        )
    return newest_checkpoint(run)


def newest_checkpoint(run: Path) -> Path:
    """Return the newest checkpoint of a run's folder."""
    checkpoints = sorted(run.glob("checkpoints/*.ckpt"), key=lambda p: p.stat().st_mtime_ns)
    if not checkpoints:
        raise FileNotFoundError(
            f"{run} has neither {_FILES['main']} nor checkpoints/*.ckpt: is it a run folder, and "
            "did the run get as far as its first checkpoint?"
        )
    return checkpoints[-1]


def _from_safetensors(path: Path, backbone: nn.Module | None) -> tuple[nn.Module, Record | None]:
    if path.suffix != ".safetensors":
        raise ValueError(
            f"{path}: load_backbone reads a run folder, .safetensors and .ckpt files of sslight. "
            f'For other weights name the backbone: load_backbone("resnet50", init="{path}").'
        )
    record = read_record(path)
    network = (
        backbone if backbone is not None else _rebuild(record.backbone if record else None, path)
    )
    load_state(network, read_state(path), str(path))
    return see(as_backbone(network), record.sees if record else None), record


def _from_checkpoint(
    path: Path, weights: Which, backbone: nn.Module | None
) -> tuple[nn.Module, Record]:
    content = read_pickle(path)
    told = content.get("sslight") or {}
    spec = told.get("backbone")
    network = backbone
    if network is None:
        network = _rebuild(BackboneSpec(**spec) if spec else None, path)
    prefixes = told.get("prefixes", {"main": "backbone.", "student": "backbone."})
    if weights not in prefixes:
        raise ValueError(
            f"{path}: no {weights!r} weights in a checkpoint; it has {list(prefixes)}."
        )
    prefix = prefixes[weights]
    state = content["state_dict"]
    inside = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    load_state(network, inside, str(path))
    network = see(as_backbone(network), told.get("sees"))
    meta = {"epoch": content.get("epoch"), "step": content.get("global_step"), "weights": weights}
    return network, Record(None, int(network.embed_dim), "", told.get("view"), meta)  # type: ignore[arg-type]


def _rebuild(spec: BackboneSpec | None, path: Path) -> nn.Module:
    if spec is None:
        raise ValueError(
            f"{path} does not say which network it belongs to (one of your own?). Build it and "
            "give it: load_backbone(path, backbone=...)."
        )
    network: nn.Module = builder(spec.name)(**spec.kwargs)
    return network


def _from_name(name: str, init: str | Path | None) -> nn.Module:
    network: nn.Module = builder(name)()
    if init is None and any(True for _ in network.parameters()):
        raise ValueError(
            f"load_backbone({name!r}) would have random weights. Give init=<path or address>, or "
            'init="random" if that is what you want; for pretrained ones, '
            f'load_backbone(backbone({name!r}, weights="DEFAULT")).'
        )
    init_backbone(network, init)
    return network


def _default_view(backbone: nn.Module) -> Any:
    from sslight.augment.presets import PRESETS

    size = getattr(getattr(backbone, "patch_embed", None), "img_size", (224,))[0]
    return own_view(backbone) or PRESETS["eval"](size=size)[0]


def _to(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {k: _to(v, device) for k, v in value.items()}
    return [_to(v, device) for v in value] if isinstance(value, list) else value
