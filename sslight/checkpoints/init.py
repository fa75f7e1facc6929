"""Weights into a backbone, strictly, with a report of what fitted and what did not."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor, nn

from sslight.backbones.inputs import input_of
from sslight.checkpoints.download import fetch, is_url
from sslight.checkpoints.formats import read_state
from sslight.checkpoints.record import read_record

# Parts of a name that only say who held the backbone; a whole prefix of them is stripped.
_HOLDERS = frozenset({"backbone", "module", "model", "encoder", "_orig_mod"})
# A classifier in the file that the backbone had removed.
_CLASSIFIERS = ("fc.", "classifier.", "head.", "heads.", "aux1.", "aux2.", "AuxLogits.")
# Names that a file or a backbone may lack: counters that files from before PyTorch 0.4.1 do not
# have (nothing depends on them), and the token of pretraining by masks, which embeds no image.
_OPTIONAL = ("num_batches_tracked", "mask_token")


@dataclass(frozen=True)
class LoadReport:
    """What happened to every name when weights were loaded.

    Attributes:
        source: Path or address.
        prefix: What was stripped from the file's names.
        matched: Names loaded.
        missing: Names of the backbone that the file does not have.
        unexpected: Names of the file that the backbone does not have.
        mismatched: Name, shape in the file, shape in the backbone.
        ignored: Names of the file outside the prefix, or of its classifier.
        note: What else is to be known about the weights.
    """

    source: str
    prefix: str = ""
    matched: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    note: str = ""

    @property
    def complete(self) -> bool:
        """Whether every tensor of the backbone came from the file and none was left over."""
        return not (self.missing or self.unexpected or self.mismatched)

    def __str__(self) -> str:
        lines = [
            f"{self.source}: {len(self.matched)} matched, {len(self.missing)} missing, "
            f"{len(self.unexpected)} unexpected, {len(self.mismatched)} of another shape, "
            f"{len(self.ignored)} ignored"
            + (f", prefix {self.prefix!r} stripped" if self.prefix else "")
        ]
        lines += [
            f"  other shape: {name}: file {list(theirs)}, backbone {list(ours)}"
            for name, theirs, ours in self.mismatched[:8]
        ]
        lines += [f"  missing: {name}{self._nearest(name)}" for name in self.missing[:8]]
        lines += [f"  unexpected: {name}" for name in self.unexpected[:8]]
        return "\n".join([*lines, *([f"  {self.note}"] if self.note else [])])

    def _nearest(self, name: str) -> str:
        near = difflib.get_close_matches(name, self.unexpected + self.ignored, n=1, cutoff=0.6)
        return f" (nearest in the file: {near[0]})" if near else ""


def init_backbone(
    backbone: nn.Module, init: str | Path | None, *, strict: bool = True
) -> LoadReport | None:
    """Load weights from a file or an address into ``backbone``.

    Args:
        backbone: Changed in place.
        init: Path of a ``.safetensors`` or PyTorch file, a run folder of ours,
            ``https://host/file#sha256=<hex>`` (cached), or ``random`` / ``None`` for no weights.
        strict: Every tensor must fit; otherwise those that do are loaded, and the report tells.

    Raises:
        ValueError: names or shapes do not fit (the whole report is in the message).
        FileNotFoundError: there is no such file.
    """
    if init is None or str(init) == "random":
        return None
    path = fetch(str(init)) if is_url(str(init)) else _local(Path(init).expanduser())
    report = load_state(backbone, read_state(path), str(init), strict=strict)
    return dataclasses.replace(report, note=_other_input(backbone, path))


def load_state(
    backbone: nn.Module, state: Mapping[str, Tensor], source: str, *, strict: bool = True
) -> LoadReport:
    """Load a state dict whose names may carry a prefix; see :func:`init_backbone`."""
    own = backbone.state_dict()
    prefix = _prefix(own, state)
    inside = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    report = _compare(own, inside, [k for k in state if not k.startswith(prefix)], source, prefix)
    if not report.matched or (strict and not report.complete):
        raise ValueError(
            f"The weights do not fit {type(backbone).__name__}.\n{report}\nBuild the backbone as "
            "the file's was (name, stem, width, in_channels, image_size), or give another file."
        )
    backbone.load_state_dict({k: inside[k] for k in report.matched}, strict=False)
    return report


def _other_input(backbone: nn.Module, path: Path) -> str:
    """Say so if the weights were trained on something else than the backbone now sees."""
    record = read_record(path) if path.suffix == ".safetensors" else None
    trained = record.sees if record else None
    if trained == input_of(backbone) or trained is None:
        return ""
    return (
        f"trained on the {trained} of RGB images in [0, 1]; from here on the backbone sees the "
        "images as they are (extract, eval and load_backbone on the run itself do not)"
    )


def _local(path: Path) -> Path:
    if path.is_dir():
        path = path / "backbone.safetensors"
    if not path.is_file():
        raise FileNotFoundError(
            f"init: there is no file {path}. Give a weight file, a run folder, an address with its "
            "checksum, or `random`."
        )
    return path


def _prefix(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """The prefix (of holders' names only) under which most of the backbone's names are found."""
    candidates = {""}
    for name in own:
        for key in state:
            if key.endswith(f".{name}"):
                holder = key[: -len(name)]
                if all(part in _HOLDERS for part in holder[:-1].split(".")):
                    candidates.add(holder)
        if len(candidates) > 1:
            break
    return max(sorted(candidates), key=lambda p: sum(f"{p}{name}" in state for name in own))


def _compare(
    own: Mapping[str, Tensor],
    inside: Mapping[str, Tensor],
    outside: list[str],
    source: str,
    prefix: str,
) -> LoadReport:
    report = LoadReport(source, prefix, ignored=outside)
    for name, tensor in own.items():
        if name not in inside:
            if not name.endswith(_OPTIONAL):
                report.missing.append(name)
        elif inside[name].shape != tensor.shape:
            theirs, ours = tuple(inside[name].shape), tuple(tensor.shape)
            report.mismatched.append((name, theirs, ours))
        else:
            report.matched.append(name)
    for name in inside:
        if name not in own:
            needless = name.startswith(_CLASSIFIERS) or name.endswith("mask_token")
            (report.ignored if needless else report.unexpected).append(name)
    return report
