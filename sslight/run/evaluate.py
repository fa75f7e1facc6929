"""``sslight eval``: protocols on one backbone or several, features made first where missing."""

from __future__ import annotations

import dataclasses
import inspect
import logging
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from sslight import config as configs
from sslight.data.datamodule import SSLDataModule
from sslight.errors import RefusedRunError, refusing
from sslight.eval._seeds import over_seeds
from sslight.eval._tables import Results
from sslight.eval.base import Result, Subject
from sslight.features import load_features
from sslight.features.extract import extract_features
from sslight.loggers import write_log_file
from sslight.run import assemble
from sslight.run.extract import (
    Weights,
    autocast,
    build_options,
    given,
    names_weights,
    prepare,
    start_ranks,
    store_folder,
)
from sslight.run.progress import RowProgress
from sslight.run.subjects import composed, is_store, label_of, variant
from sslight.run.summary import say_report_next
from sslight.run.trainer import quiet_lightning
from sslight.run.training import SupervisedTrainer

log = logging.getLogger("sslight")

#: What is run where neither the config nor the command names a protocol.
_DEFAULT: dict[str, Any] = {"knn": {}}


def evaluate(
    config: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    protocols: Sequence[str] = (),
    overrides: Iterable[str] = (),
    *,
    compare: Sequence[str | Path] = (),
    seeds: int = 1,
    weights: Weights | None = None,
    backbone: nn.Module | None = None,
    data: SSLDataModule | None = None,
    trust: Sequence[str] = (),
) -> Results | None:
    """Run evaluation protocols and keep their results as ``eval/<protocol>.json`` in the run.

    Features that are missing, or not of the run's weights, are extracted first. Where the config
    names no weights, the features found in the run's store are evaluated as they are.

    Args:
        config: Path or shipped name of a config, a run (also what ``fit`` returned), a mapping, a
            file of weights, or a feature store or its folder; None for overrides alone.
        protocols: Which ones; empty for those under ``eval`` in the config, or ``knn``.
        overrides: ``key=value`` strings.
        compare: Further subjects on the same data: runs, files of weights, names of backbones,
            feature stores, ``random`` or ``pixels``. Their results go to ``with/<name>`` in the
            run's folder, the comparison to ``eval/comparison.json``.
        seeds: Repeat protocols that draw something with so many seeds; figures are then means.
        weights: Which of a run's weights; None for ``extract.weights``.
        backbone: A network in place of the config's ``backbone``, ``init`` and the run's weights.
        data: A data module in place of the config's ``data``.
        trust: Packages whose classes the config may name.

    Returns:
        The results; None on ranks other than 0.
    """
    if seeds < 1:
        raise RefusedRunError(f"eval: seeds is {seeds}; give a number from 1.")
    if is_store(config):
        store = Path(config)
        call = _Call({}, protocols, seeds, weights, data, trust)
        with write_log_file(store):
            return _told(call, Subject(store, name=label_of(store)), store, compare, {})
    main = composed(config, overrides)
    objects = given(backbone=backbone, data=data)
    checked = configs.checked(main, "extract", trust, [*objects, *_told_by_file(main, compare)])
    run_dir = assemble.run_folder(checked, main.name)
    call = _Call(checked.get("eval") or {}, protocols, seeds, weights, data, trust)
    with write_log_file(run_dir):
        call.start(checked.get("trainer") or {})
        subject = (
            None
            if _only_others(checked, compare) and backbone is None
            else call.subject(checked, main.name, backbone)
        )
        return _told(call, subject, run_dir, compare, main)


def _told(
    call: _Call,
    subject: Subject | None,
    folder: Path,
    compare: Sequence[str | Path],
    main: Mapping[str, Any],
) -> Results | None:
    """Evaluate the subject and those that it is compared with."""
    others = call.others(compare, main, folder / "with", [subject.name] if subject else [])
    results = call.results(subject, folder) if subject else Results()
    for name, other in others.items():
        log.info("%s:", name)
        found = Subject(other, name=name) if isinstance(other, Path) else call.subject(other, name)
        results.others[name] = call.results(found, folder / "with" / name)
    if results.others and call.is_first:
        results.save_comparison(folder / "eval" / "comparison.json")
    return results if call.is_first else None


def _free_name(name: str, taken: Collection[str]) -> str:
    return next(n for n in (name, *(f"{name}_{i}" for i in range(2, 999))) if n not in taken)


def _only_others(checked: Mapping[str, Any], compare: Sequence[Any]) -> bool:
    """Whether the config names no network of its own, but data and protocols for others."""
    named = checked.get("backbone") or (checked.get("extract") or {}).get("checkpoint")
    return bool(compare) and not named


def _told_by_file(main: Mapping[str, Any], compare: Sequence[Any]) -> list[str]:
    """Sections that the config may lack: a checkpoint says which network it is of."""
    return ["backbone"] if (main.get("extract") or {}).get("checkpoint") or compare else []


@dataclass
class _Call:
    """One call of eval: its protocols and its ranks."""

    nodes: Mapping[str, Any]
    protocols: Sequence[str]
    seeds: int
    weights: Weights | None
    data: SSLDataModule | None
    trust: Sequence[str]
    fabric: Any = None

    def start(self, trainer: Mapping[str, Any]) -> None:
        """Check the protocols, then start as many processes as the config's trainer has."""
        self._build(self._wanted())
        with quiet_lightning(), refusing(MisconfigurationException, TypeError):
            self.fabric = start_ranks(trainer)

    @property
    def is_first(self) -> bool:
        return self.fabric is None or bool(self.fabric.is_global_zero)

    def subject(
        self, checked: Mapping[str, Any], name: str, backbone: nn.Module | None = None
    ) -> Subject:
        """The subject that a config describes, or the backbone in place of the config's."""
        options = build_options(checked, self.weights, self.trust)
        run_dir = assemble.run_folder(checked, name)
        store = store_folder(options, run_dir)
        named = backbone is not None or names_weights(checked, run_dir, options)
        if is_store(store) and not named:
            source = load_features(store).manifest.meta.get("source", "an unnamed backbone")
            log.info("No weights are named; the features in %s are of %s.", store, source)
            return Subject(store, name=name)
        work = prepare(checked, name, self.weights, self.data, self.trust, backbone)
        trainer = SupervisedTrainer(run_dir, checked.get("trainer") or {}, self.trust)
        return Subject(
            work.folder,
            backbone=work.backbone.to(self.fabric.device),
            datamodule=work.data,
            options=work.options,
            device=self.fabric.device,
            meta=work.meta,
            trainer=trainer,
            extractor=self._extractor(checked.get("trainer") or {}),
            name=name,
        )

    def others(
        self,
        compare: Sequence[str | Path],
        main: Mapping[str, Any],
        folder: Path,
        taken: Collection[str],
    ) -> dict[str, Path | Mapping[str, Any]]:
        """What is compared with, by name, all checked before anything runs: stores and configs."""
        found: dict[str, Path | Mapping[str, Any]] = {}
        for word in map(str, compare):
            name = _free_name(label_of(word), {*taken, *found})
            found[name] = Path(word) if is_store(word) else self._other(word, main, folder / name)
        return found

    def _other(self, word: str, main: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
        if not main:
            raise RefusedRunError(
                f"--with {word}: a bare feature store has no images to run it on. Give --config a "
                "config or a run's folder, or compare it with other feature stores."
            )
        config = configs.compose({**variant(word, main), "run_dir": str(folder)})
        objects = [*given(data=self.data), *_told_by_file(config, ())]
        return configs.checked(config, "extract", self.trust, objects)

    def results(self, subject: Subject, folder: Path) -> Results:
        """Run every protocol on a subject and keep the figures in ``folder``."""
        results = Results(subject.name)
        for label, node in self._wanted().items():
            result = dataclasses.replace(self._repeated(subject, label, node), protocol=label)
            results.append(result)
            if self.is_first:
                result.save(folder / "eval" / f"{label}.json")
                _to_tensorboard(folder, label, result)
        subject.say_bad_images()
        if self.is_first:
            say_report_next(folder)
        return results

    def _repeated(self, subject: Subject, label: str, node: Any) -> Result:
        (protocol,) = self._build({label: node}).values()
        takes = inspect.signature(type(protocol)).parameters
        if self.seeds == 1 or "seed" not in takes:
            result: Result = protocol.evaluate(subject)
            return result
        first = int((node or {}).get("seed", takes["seed"].default))
        seeds = list(range(first, first + self.seeds))
        nodes = {f"{label}_{seed}": {"name": label, **(node or {}), "seed": seed} for seed in seeds}
        return over_seeds([p.evaluate(subject) for p in self._build(nodes).values()], seeds)

    def _wanted(self) -> dict[str, Any]:
        if not self.protocols:
            return {k: v for k, v in self.nodes.items() if v is not None} or _DEFAULT
        return {name: self.nodes.get(name) or {} for name in self.protocols}

    def _build(self, nodes: Mapping[str, Any]) -> dict[str, Any]:
        built: dict[str, Any] = configs.build_members("eval", nodes, self.trust, key="eval")
        return built

    def _extractor(self, trainer: Mapping[str, Any]) -> Callable[..., Any]:
        fabric = self.fabric
        ranks: dict[str, Any] = {"rank": fabric.global_rank, "world_size": fabric.world_size}

        def extract(*args: Any, **options: Any) -> Any:
            with autocast(fabric, trainer), RowProgress(self.is_first) as bar:
                return extract_features(*args, **{**ranks, **options, "progress": bar})

        return extract


def _to_tensorboard(folder: Path, label: str, result: Result) -> None:
    with SummaryWriter(str(folder / "tensorboard")) as writer:
        for name, value in result.metrics.items():
            writer.add_scalar(f"eval/{label}/{name}", value)
