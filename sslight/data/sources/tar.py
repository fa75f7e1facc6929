"""Source `tar`: images inside uncompressed tar shards, reached one by one."""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from sslight.data.decode import MAX_PIXELS
from sslight.data.index import Index, Packer
from sslight.data.labelling import LabelColumn
from sslight.data.sources._indexed import IndexedSource
from sslight.data.sources._paths import as_list, distinct_names, expand, suffixes
from sslight.data.sources._shards import Member, ShardReader, find_shards, members

_RULES = ("auto", "cls", "json", "folder", "none")


class Tar(IndexedSource):
    """Images in tar shards (WebDataset's, or any), in the order of shards and members.

    Where each image lies is indexed once and cached (keyed by the shards' paths, sizes and
    times); then any image is one read. Ids are `<shard file>/<member name>`. Links inside a shard
    are followed. A shard may not be compressed.

    Args:
        root: a shard, a folder of `.tar` files, a pattern (`train-*.tar`, `train-{000..146}.tar`),
            or a list of these.
        labels: `cls`, `json`: from the member with the same name and that ending beside the
            image (`0001.jpg`, `0001.cls`; a name also ends at its first dot, as in WebDataset).
            `folder`: the first folder of the member's name. `none`. `auto`: the first of `cls`,
            `json`, `folder` that there is: any image with one for the first two; for `folder`,
            every image in one and two or more of them. Images without a label have -1.
        label_key: the key in the `json` (a number or text).
        extensions: member names that count as images, in place of the usual (jpg, png, ...).
        max_pixels: refuse larger images, see `sslight.data.decode.decode`.
    """

    def __init__(
        self,
        root: str | Path | list[str | Path],
        *,
        labels: Literal["auto", "cls", "json", "folder", "none"] = "auto",
        label_key: str = "label",
        extensions: list[str] | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        if labels not in _RULES:
            raise ValueError(f"tar: labels={labels!r}; allowed: {', '.join(_RULES)}")
        self.patterns = [expand(path) for path in as_list(root)]
        self.rule = labels
        self.label_key = label_key
        self.suffixes = suffixes(extensions)
        self.max_pixels = max_pixels
        self._reader = ShardReader()

    def _shards(self) -> list[str]:
        try:
            shards = [path for pattern in self.patterns for path in find_shards(pattern)]
        except FileNotFoundError as error:
            raise FileNotFoundError(f"data.{self.split}: {error}") from None
        if not shards:
            raise ValueError("tar: root is an empty list; give a shard, a folder or a pattern")
        return shards

    def _key(self) -> Mapping[str, object]:
        stamps = []
        for path in self._shards():
            status = os.stat(path)
            stamps.append([os.path.abspath(path), status.st_size, status.st_mtime_ns])
        rules = [self.rule, self.label_key, [str(s) for s in self.suffixes]]
        return {"shards": stamps, "rules": rules}

    def _build(self) -> Index:
        shards, rows = self._shards(), _Rows(self.suffixes, self.rule, self.label_key)
        counts = [rows.add_shard(path, self._reader) for path in shards]
        self._reader.close()
        if not len(rows.names):
            looked = " ".join(s.decode() for s in self.suffixes)
            raise ValueError(
                f"data.{self.split}: no image in {len(shards)} shard(s), {shards[0]}, ...: looked "
                f"for {looked}. Name other file types with extensions: [...]."
            )
        values, classes = rows.labels(self.rule)
        if self.rule not in ("auto", "none") and not classes:
            raise ValueError(
                f"data.{self.split}: labels={self.rule}, but no image in {shards[0]}, ... has "
                f"such a label. Use labels: none, or another of {', '.join(_RULES)}."
            )
        arrays = {
            "first_row": np.cumsum([0, *counts]),
            "offset": np.frombuffer(rows.offsets, dtype=np.int64),
            "size": np.frombuffer(rows.sizes, dtype=np.int64),
        }
        return Index.pack(rows.names, values, classes, arrays, shards=shards)

    def _shard_of(self, i: int) -> int:
        return int(np.searchsorted(self.index.arrays["first_row"], i, side="right")) - 1

    def id(self, i: int) -> str:
        """Return `<shard file>/<member name>`."""
        name = super().id(i)
        return f"{distinct_names(self.index.meta['shards'])[self._shard_of(i)]}/{name}"

    def _path(self, i: int) -> str:
        return str(self.index.meta["shards"][self._shard_of(i)])

    def _read(self, i: int) -> bytes:
        self.index.name(i)  # a row out of range is an error here, not another image
        offset, size = (int(self.index.arrays[name][i]) for name in ("offset", "size"))
        if size < 0:
            raise OSError("a link to a member that is not in its shard")
        return self._reader.read(self._path(i), offset, size)


class _Rows:
    """Gathers the images of shards, and every kind of label that may be asked for."""

    def __init__(self, suffixes: tuple[bytes, ...], rule: str, label_key: str) -> None:
        self.names = Packer()
        self.offsets, self.sizes = array("q"), array("q")
        self._suffixes, self._key = suffixes, label_key
        self._kinds = ("cls", "json", "folder") if rule == "auto" else (rule,)
        self._columns = {
            "cls": LabelColumn(),
            "json": LabelColumn(),
            "folder": LabelColumn(numbers=False),
        }

    def add_shard(self, path: str, reader: ShardReader) -> int:
        """Append the images of one shard; return how many."""
        images: list[Member] = []
        found: dict[str, Member] = {}
        sidecars: dict[str, dict[str, str]] = {"cls": {}, "json": {}}
        links = False
        for member in members(path):
            stem, _, ending = member.name.rpartition(".")
            hidden = os.path.basename(member.name).startswith(".")
            if os.fsencode(member.name.lower()).endswith(self._suffixes) and not hidden:
                images.append(member)
                links |= member.link is not None
            elif ending in self._kinds and ending in sidecars:
                data = reader.read(path, member.offset, member.size)
                sidecars[ending][stem] = self._label(path, member.name, ending, data)
        if links:
            found = {member.name: member for member in members(path)}
        for image in images:
            self._add(_resolve(image, found), image.name, sidecars)
        return len(images)

    def _add(self, place: Member, name: str, sidecars: dict[str, dict[str, str]]) -> None:
        self.names.extend([os.fsencode(name)])
        self.offsets.append(place.offset)
        self.sizes.append(place.size)
        folder, base = os.path.split(name.removeprefix("./"))
        stems = (name.rpartition(".")[0], os.path.join(os.path.dirname(name), base.split(".")[0]))
        for kind, labels in sidecars.items():
            self._columns[kind].add(next((labels[s] for s in stems if s in labels), ""))
        self._columns["folder"].add(folder.split("/")[0])

    def _label(self, path: str, name: str, ending: str, data: bytes) -> str:
        """Return a sidecar's label as text, "" for none."""
        where = f"label {name} in shard {path}"
        try:
            text = data.decode("utf-8").strip()
            value = json.loads(text).get(self._key, "") if ending == "json" else text
        except (ValueError, AttributeError) as error:
            raise ValueError(f"{where} is not a JSON object or UTF-8 text: {error}") from None
        if value is None or isinstance(value, bool | float | list | dict):
            raise ValueError(f"{where}: {value!r}; expected a whole number or text")
        return str(value)

    def labels(self, rule: str) -> tuple[np.ndarray | None, list[str] | None]:
        """Return the labels of the rule, of the first kind there is for `auto`."""
        for kind in self._kinds if rule != "none" else ():
            values, classes = self._columns[kind].finish()
            if rule != "auto":
                return values, classes
            enough = len(classes) >= 2 and values.min() >= 0 if kind == "folder" else bool(classes)
            if enough:
                return values, classes
        return None, None


def _resolve(member: Member, found: Mapping[str, Member], depth: int = 8) -> Member:
    """Return the member that holds the bytes; of size -1 if a link leads nowhere."""
    while member.link is not None and depth:
        target = found.get(member.link)
        if target is None:
            return Member(member.name, 0, -1)
        member, depth = target, depth - 1
    return member if member.link is None else Member(member.name, 0, -1)
