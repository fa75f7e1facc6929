"""Weights into a backbone, strictly, with a report of what fitted and what did not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from sslight.backbones.inputs import INPUTS, input_of
from sslight.checkpoints.adapt import adapted
from sslight.checkpoints.download import fetch, is_url
from sslight.checkpoints.formats import read_state
from sslight.checkpoints.layouts import Reading, best_reading, readings
from sslight.checkpoints.layouts._names import Shapes
from sslight.checkpoints.rebuild import network_of
from sslight.checkpoints.record import read_record
from sslight.checkpoints.report import LoadReport, compare

# How to see a trait (`Wrapping.traits`) in a network that is built.
_SEEN: dict[str, Callable[[Any], Any]] = {
    "heads": lambda net: _first(net.blocks[0].attn, "heads", "num_heads"),
    "stem": lambda net: "solo" if net.conv1.padding == (2, 2) else "another",
}


def init_backbone(
    backbone: nn.Module, init: str | Path | None, *, strict: bool = True
) -> LoadReport | None:
    """Load weights from a file or an address into ``backbone``.

    Args:
        backbone: Changed in place.
        init: Path of a ``.safetensors`` or PyTorch file, ours or of a layout that
            :mod:`sslight.checkpoints.layouts` knows, a run folder of ours,
            ``https://host/file#sha256=<hex>`` (cached), or ``random`` / ``None`` for no weights.
        strict: Every tensor must fit; otherwise those that do are loaded, and the report tells.

    Raises:
        ValueError: Names or shapes do not fit (the whole report is in the message).
        FileNotFoundError: There is no such file.
    """
    if init is None or str(init) == "random":
        return None
    path = fetch(str(init)) if is_url(str(init)) else _local(Path(init).expanduser())
    report = load_state(backbone, read_state(path), str(init), strict=strict)
    report.notes.extend(_other_input(backbone, path))
    return report


def load_state(
    backbone: nn.Module, state: Mapping[str, Tensor], source: str, *, strict: bool = True
) -> LoadReport:
    """Load a file's tensors, in whatever layout their names have; see :func:`init_backbone`."""
    own = backbone.state_dict()
    reading = best_reading(shapes_of(state), shapes_of(own))
    inside, changed = adapted(backbone, {ours: state[k] for k, ours in reading.names.items()})
    outside = [name for name in state if name not in reading.names]
    report = LoadReport(source, str(reading), reading.prefix, ignored=outside, changed=changed)
    compare(report, own, inside)
    _note_traits(report, reading, backbone, inside)
    if not report.matched or (strict and not report.complete):
        raise ValueError(
            f"The weights do not fit {type(backbone).__name__}.\n{report}\n{_way_out(state)}"
        )
    backbone.load_state_dict({k: inside[k] for k in report.matched}, strict=False)
    return report


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Shapes of named tensors, as plain tuples."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def recognised(state: Mapping[str, Tensor]) -> tuple[Reading, Any, str] | None:
    """The reading under which a file's tensors are those of a network that sslight builds.

    Returns:
        Reading, the call that builds the network, and what had to be assumed; None if there is no
        such network.
    """
    shapes = shapes_of(state)
    for reading in readings(state):
        inside: Shapes = {ours: shapes[theirs] for theirs, ours in reading.names.items()}
        found = network_of(inside)
        if found:
            spec, assumed = found
            traits = reading.traits(inside)
            spec.kwargs.update(traits)
            return reading, spec, "" if traits else assumed
    return None


def _note_traits(
    report: LoadReport, reading: Reading, backbone: nn.Module, inside: Mapping[str, Tensor]
) -> None:
    if reading.note:
        report.notes.append(reading.note)
    if report.missing or reading.wrapping is None:
        return
    told = report.differs if reading.wrapping.certain else report.notes
    for key, value in reading.traits(shapes_of(inside)).items():
        if _SEEN[key](backbone) != value:
            told.append(
                f"{reading.wrapping.name}'s network has {key}: {value}. Build the backbone so: "
                "the same weights give other features without it"
            )


def _way_out(state: Mapping[str, Tensor]) -> str:
    found = recognised(state)
    if found is None:
        return (
            "Build the backbone as the file's was (name, stem, width, in_channels, image_size), or "
            "give another file."
        )
    spec = found[1]
    node = ", ".join([f"name: {spec.name}", *(f"{k}: {v}" for k, v in spec.kwargs.items())])
    return f"The file's network is `backbone: {{{node}}}`: build that, or give another file."


def _first(holder: Any, *names: str) -> Any:
    return next((getattr(holder, name) for name in names if hasattr(holder, name)), None)


def _other_input(backbone: nn.Module, path: Path) -> list[str]:
    """Say so if the weights were trained on something else than the backbone now sees."""
    record = read_record(path) if path.suffix == ".safetensors" else None
    trained = record.sees if record else None
    if trained == input_of(backbone) or trained is None:
        return []
    words = INPUTS[trained].words if trained in INPUTS else trained
    return [
        f"trained on {words}; from here on the backbone sees the images as they "
        "are (extract, eval and load_backbone on the run itself do not)"
    ]


def _local(path: Path) -> Path:
    if path.is_dir():
        path = path / "backbone.safetensors"
    if not path.is_file():
        raise FileNotFoundError(
            f"init: there is no file {path}. Give a weight file, a run folder, an address with its "
            "checksum, or `random`."
        )
    return path
