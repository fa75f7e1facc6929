"""What a folder of images holds: which parts are for training and testing, how many, how large."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from sslight.data.sources.folder import Folder
from sslight.doctor.images import SplitFacts, look
from sslight.errors import RefusedRunError, refusing

#: What people call the parts of a data set, in lower case.
_TRAIN = ("train", "training", "trainset")
_TEST = ("test", "testing", "testset")
_VAL = ("val", "valid", "validation", "dev")
_LEAST = 8
#: Files that say that the images are inside something else, and the source that reads them.
_PACKED = {".tar": "tar", ".tgz": "tar", ".parquet": "hf", ".arrow": "hf"}


@dataclass(frozen=True)
class Survey:
    """What was seen in a folder.

    Attributes:
        folder: The folder, as it was given.
        roots: Folder of each split: ``train``, perhaps ``test`` and others.
        facts: What each split holds, from a sample.
        notes: What was left aside, in words.
    """

    folder: str
    roots: dict[str, str]
    facts: dict[str, SplitFacts]
    notes: tuple[str, ...] = field(default=())

    @property
    def train(self) -> SplitFacts:
        """The images to learn from."""
        return self.facts["train"]

    @property
    def side(self) -> int:
        """Median of the shorter side of the training images in pixels."""
        return int(self.train.short_sides[self.train.good // 2])

    @property
    def labelled(self) -> bool:
        """Whether the training images have classes."""
        return self.train.labels is not None

    @property
    def grey(self) -> bool:
        """Whether every image looked at is grey."""
        return self.train.grey == self.train.good


def survey(folder: str, sample: int = 200) -> Survey:
    """Look at a folder: its splits, classes, sizes and colours.

    Args:
        folder: Holds images, sub-folders of classes, or ``train`` and ``test`` (or ``val``).
        sample: Images of each split to open.

    Raises:
        RefusedRunError: There is no such folder, or there are not enough readable images in it.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise RefusedRunError(
            f"sslight init: {folder} {what}. Give the folder that holds the images."
        )
    roots = _splits(root, folder)
    facts: dict[str, SplitFacts] = {}
    notes: list[str] = []
    classes: list[str] | None = None
    for split, path in roots.items():
        source = _opened(path, split, root)
        if split == "train":
            classes = source.classes
        elif strange := _strange(source.classes, classes):
            notes.append(f"{path} is left out: train lacks its classes {strange}.")
            continue
        facts[split] = look(source, sample)
    _check_enough(facts["train"], folder)
    kept = {split: roots[split] for split in facts}
    return Survey(folder, kept, facts, tuple(notes))


def _splits(root: Path, given: str) -> dict[str, str]:
    """Tell the parts of a data set by the names of its folders; else all of it is for training."""
    named = {path.name.lower(): path.name for path in sorted(root.iterdir()) if path.is_dir()}
    train = _first(named, _TRAIN)
    if train is None:
        return {"train": given}
    test, val = _first(named, _TEST), _first(named, _VAL)
    found = {"train": train, "test": test or val, "val": val if test else None}
    return {split: str(Path(given) / name) for split, name in found.items() if name}


def _first(named: dict[str, str], words: tuple[str, ...]) -> str | None:
    return next((named[word] for word in words if word in named), None)


def _opened(path: str, split: str, root: Path) -> Folder:
    source = Folder(path)
    source.split = split
    try:
        with refusing():
            source.open()
    except RefusedRunError as error:
        raise RefusedRunError(f"sslight init: {error}{_packed(root)}") from error
    return source


def _packed(root: Path) -> str:
    """Say which source reads what lies there instead of images."""
    for path in sorted(root.rglob("*"))[:10_000]:
        if kind := _PACKED.get(path.suffix.lower()):
            return f" {path.name} may hold images: see the source `{kind}` in docs/data.md."
    return ""


def _strange(own: list[str] | None, known: list[str] | None) -> str:
    """Return the classes of a split that the training split lacks."""
    if own is None or known is None:
        return ""
    return ", ".join(sorted(set(own) - set(known))[:5])


def _check_enough(facts: SplitFacts, folder: str) -> None:
    if not facts.good:
        raise RefusedRunError(
            f"sslight init: none of the {facts.opened} images opened in {folder} can be read; the "
            f"first: {facts.bad[0]}."
        )
    if facts.total < _LEAST:
        raise RefusedRunError(
            f"sslight init: {folder} holds {facts.total} images. A batch has to hold several "
            f"different ones: {_LEAST} is the least that runs, thousands are needed to learn."
        )
