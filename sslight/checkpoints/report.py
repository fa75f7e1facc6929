"""What happened to every name when weights were loaded."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

# Heads that a file has and a backbone had removed, or never had: by the first part of the name.
_HEADS = frozenset(
    [
        "fc",
        "_fc",
        "classifier",
        "head",
        "heads",
        "linear",
        "clf",
        "aux1",
        "aux2",
        "AuxLogits",
        "projection_head",
        "projector",
        "prototypes",
        "predictor",
    ]
)
# Names that a file or a backbone may lack: counters that files from before PyTorch 0.4.1 do not
# have (nothing depends on them), and the token of pretraining by masks, which embeds no image.
_OPTIONAL = ("num_batches_tracked", "mask_token")
_SHOWN = 8


@dataclass(frozen=True)
class LoadReport:
    """What happened to every name when weights were loaded.

    Attributes:
        source: Path or address.
        layout: Whose names the file had, where they were recognised.
        prefix: What was stripped from the file's names, where that was all.
        matched: Names loaded.
        missing: Names of the backbone that the file does not have.
        unexpected: Names of the file that the backbone does not have, as the backbone has them.
        mismatched: Name, shape in the file, shape in the backbone.
        ignored: Names of the file outside the backbone, or of its heads.
        changed: What was done to tensors to make them fit.
        differs: Where the backbone is not the file's network although all shapes agree.
        notes: What else is to be known about the weights.
    """

    source: str
    layout: str = ""
    prefix: str = ""
    matched: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    differs: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every tensor of the backbone came from the file and none was left over."""
        return not (self.missing or self.unexpected or self.mismatched or self.differs)

    def __str__(self) -> str:
        layout = f" ({self.layout})" if self.layout else ""
        counts = (
            f"{self.source}{layout}: {len(self.matched)} matched, {len(self.missing)} missing, "
            f"{len(self.unexpected)} unexpected, {len(self.mismatched)} of another shape, "
            f"{len(self.ignored)} ignored"
        )
        lines = [
            *([f"prefix {self.prefix!r} stripped"] if self.prefix else []),
            *self.differs,
            *_listed("other shape", [_shapes(*entry) for entry in self.mismatched]),
            *_listed("missing", [f"{name}{self._nearest(name)}" for name in self.missing]),
            *_listed("unexpected", self.unexpected),
            *self.changed,
            *self.notes,
        ]
        return "\n  ".join([counts, *lines])

    def _nearest(self, name: str) -> str:
        near = difflib.get_close_matches(name, self.unexpected + self.ignored, n=1, cutoff=0.6)
        return f" (nearest in the file: {near[0]})" if near else ""


def compare(
    report: LoadReport, own: Mapping[str, Tensor], inside: Mapping[str, Tensor]
) -> LoadReport:
    """Fill in what fits of ``inside``, a file's tensors by the backbone's names."""
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
            needless = name.split(".")[0] in _HEADS or name.endswith("mask_token")
            (report.ignored if needless else report.unexpected).append(name)
    return report


def _shapes(name: str, theirs: tuple[int, ...], ours: tuple[int, ...]) -> str:
    return f"{name}: file {list(theirs)}, backbone {list(ours)}"


def _listed(what: str, entries: list[str]) -> list[str]:
    rest = len(entries) - _SHOWN
    more = [f"{what}: {rest} more"] if rest > 0 else []
    return [*(f"{what}: {entry}" for entry in entries[:_SHOWN]), *more]
