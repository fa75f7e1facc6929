"""``sslight eval``: protocols on the features of a run, made first where they are missing."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from sslight import config as configs
from sslight.data.datamodule import SSLDataModule
from sslight.eval.base import Result, Subject
from sslight.features import load_features
from sslight.loggers import write_log_file
from sslight.run import assemble
from sslight.run.extract import (
    Extraction,
    Weights,
    build_options,
    given,
    names_weights,
    prepare,
    store_folder,
)
from sslight.run.summary import say_report_next

log = logging.getLogger("sslight")

#: What is run where neither the config nor the command names a protocol.
_DEFAULT: dict[str, Any] = {"knn": {}}


class Results(list[Result]):
    """The results of one call; printed, it is their tables."""

    def __repr__(self) -> str:
        return f"Results([{', '.join(map(repr, self))}])"

    def __str__(self) -> str:
        return "\n".join(str(result) for result in self)

    @property
    def metrics(self) -> dict[str, float]:
        """Every figure by ``protocol/name``."""
        return {f"{r.protocol}/{name}": value for r in self for name, value in r.metrics.items()}


def evaluate(
    config: str | os.PathLike[str] | Mapping[str, Any],
    protocols: Sequence[str] = (),
    overrides: Iterable[str] = (),
    *,
    weights: Weights | None = None,
    backbone: nn.Module | None = None,
    data: SSLDataModule | None = None,
    trust: Sequence[str] = (),
) -> Results:
    """Run evaluation protocols and keep their results as ``eval/<protocol>.json`` in the run.

    Features that are missing, or not of the run's weights, are extracted first. Where the config
    names no weights, the features found in the run's store are evaluated as they are.

    Args:
        config: Path or shipped name of a config, a run (also what ``fit`` returned), a mapping, or
            a feature store or its folder.
        protocols: Which ones; empty for those under ``eval`` in the config, or ``knn``.
        overrides: ``key=value`` strings.
        weights: Which of a run's weights; None for ``extract.weights``.
        backbone: A network in place of the config's ``backbone``, ``init`` and the run's weights.
        data: A data module in place of the config's ``data``.
        trust: Packages whose classes the config may name.
    """
    if isinstance(config, str | os.PathLike) and (Path(config) / "manifest.json").is_file():
        store = Path(config)
        with write_log_file(store):
            return _run(Subject(store), _wanted({}, protocols), store, trust)
    composed = configs.compose(config, overrides)
    checked = configs.checked(composed, "extract", trust, given(backbone=backbone, data=data))
    run_dir = assemble.run_folder(checked, composed.name)
    with write_log_file(run_dir):
        wanted = _wanted(checked.get("eval") or {}, protocols)
        options = build_options(checked, weights, trust)
        store = store_folder(options, run_dir)
        named = backbone is not None or names_weights(checked, run_dir, options)
        if (store / "manifest.json").is_file() and not named:
            source = load_features(store).manifest.meta.get("source", "an unnamed backbone")
            log.info("No weights are named; the features in %s are of %s.", store, source)
            return _run(Subject(store), wanted, run_dir, trust)
        work = prepare(checked, composed.name, weights, data, trust, backbone)
        results = _run(_subject(work), wanted, run_dir, trust)
        work.data.bad_images.say()
    return results


def _subject(work: Extraction) -> Subject:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return Subject(
        work.folder,
        backbone=work.backbone.to(device),
        datamodule=work.data,
        options=work.options,
        device=device,
        meta=work.meta,
    )


def _wanted(nodes: Mapping[str, Any], protocols: Sequence[str]) -> dict[str, Any]:
    if not protocols:
        return dict(nodes) or _DEFAULT
    return {name: nodes.get(name, {}) for name in protocols}


def _run(subject: Subject, nodes: Mapping[str, Any], folder: Path, trust: Sequence[str]) -> Results:
    built = configs.build_members("eval", nodes, trust, key="eval")
    results = Results()
    for label, protocol in built.items():
        result: Result = protocol.evaluate(subject)
        result.save(folder / "eval" / f"{label}.json")
        _to_tensorboard(folder, label, result)
        results.append(result)
    say_report_next(folder)
    return results


def _to_tensorboard(folder: Path, label: str, result: Result) -> None:
    with SummaryWriter(str(folder / "tensorboard")) as writer:
        for name, value in result.metrics.items():
            writer.add_scalar(f"eval/{label}/{name}", value)
