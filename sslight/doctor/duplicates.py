"""Images that two splits share: the same file, byte for byte, or the same pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from sslight.data.errors import ImageError
from sslight.data.sources.base import Source
from sslight.doctor.images import load, spread


@dataclass(frozen=True)
class Copies:
    """What two splits have in common.

    Attributes:
        splits: Their names.
        compared: How many images of each were compared.
        totals: How many there are.
        by_pixels: Whether pixels were compared; else whole files.
        pairs: Names of equal images, one of each split.
        inside: Compared images of the first split that repeat an earlier one of it.
    """

    splits: tuple[str, str]
    compared: tuple[int, int]
    totals: tuple[int, int]
    by_pixels: bool
    pairs: tuple[tuple[str, str], ...]
    inside: int

    @property
    def complete(self) -> bool:
        """Whether every image was compared."""
        return self.compared == self.totals


def copies(first: Source, second: Source, most_files: int, most_decoded: int) -> Copies:
    """Find the images of ``second`` that ``first`` has too, by a hash of their content.

    Files are compared as they are, which is cheap; where a split has none, images are decoded and
    their pixels compared. A picture that was resized or saved again is not found.

    Args:
        first: The split to learn from.
        second: The split to evaluate on.
        most_files: Images of each split to compare where files are read.
        most_decoded: The same where images are decoded.
    """
    by_pixels = not (has_files(first) and has_files(second))
    most = most_decoded if by_pixels else most_files
    known: dict[bytes, int] = {}
    inside = 0
    for row, digest in _digests(first, most, by_pixels):
        inside += digest in known
        known.setdefault(digest, row)
    pairs = tuple(
        (first.id(known[digest]), second.id(row))
        for row, digest in _digests(second, most, by_pixels)
        if digest in known
    )
    totals = len(first), len(second)
    compared = min(most, totals[0]), min(most, totals[1])
    splits = first.split, second.split
    return Copies(splits, compared, totals, by_pixels, pairs, inside)


def has_files(source: Source) -> bool:
    """Whether the rows of a source are image files."""
    try:
        return len(source) > 0 and source.file(0) is not None
    except OSError:
        return True


def _digests(source: Source, most: int, by_pixels: bool) -> Iterator[tuple[int, bytes]]:
    """Hash rows of a source; what cannot be read has no content, so it equals nothing."""
    for row in spread(len(source), most).tolist():
        try:
            content = _pixels(source, row) if by_pixels else source.file(row)
        except (ImageError, OSError):
            continue
        if content:
            yield row, hashlib.blake2b(content, digest_size=16).digest()


def _pixels(source: Source, row: int) -> bytes:
    image = load(source, row)
    return f"{tuple(image.shape)}".encode() + image.contiguous().numpy().tobytes()
