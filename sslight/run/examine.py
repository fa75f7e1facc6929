"""``sslight check --run``: the plan, and what only running it tells."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import pytorch_lightning as pl
import torch

from sslight import config as configs
from sslight.checkpoints import init_backbone
from sslight.data.errors import ImageError
from sslight.data.sources.base import Source
from sslight.doctor import Finding, advice, words
from sslight.doctor.duplicates import copies
from sslight.doctor.images import SplitFacts, look
from sslight.doctor.lines import Line, copies_in_words, in_words, step_lines
from sslight.doctor.step import StepFigures, TimedData, measure
from sslight.doctor.views import draw_sheet
from sslight.errors import refusing
from sslight.module import SSLModule
from sslight.run import assemble
from sslight.run.plan import Plan, count_ranks, first_clock, plan_of
from sslight.run.trainer import build_trainer, quiet_lightning

#: Keys of the trainer that would end the measurement early, write files or start processes.
_LEFT_OUT = (
    *("devices", "num_nodes", "strategy", "logger", "profiler", "fast_dev_run", "max_time"),
    *("min_epochs", "min_steps", "sync_batchnorm", "limit_train_batches"),
)
#: For each image that is opened, so many are compared: as files, and as pixels.
_FILES, _DECODED = 40, 4
#: A method that looks at all images before an epoch is measured on no more than these.
_BEFORE_EPOCH = 20_000


@dataclass(frozen=True)
class Examination:
    """What the doctor saw.

    Attributes:
        plan: What the run would be.
        lines: Label and text of everything looked at and measured.
        findings: Problems first, then advice, then notes.
        figures: The measured step; None where it could not be run.
    """

    plan: Plan
    lines: tuple[Line, ...]
    findings: tuple[Finding, ...]
    figures: StepFigures | None

    @property
    def problems(self) -> list[Finding]:
        """Findings that would make ``fit`` fail, or its figures wrong."""
        return [finding for finding in self.findings if finding.kind == "problem"]

    def __str__(self) -> str:
        seen = Plan((*self.plan.lines, *self.lines))
        found = "\n".join(map(str, self.findings)) or "Nothing to change."
        return f"{seen}\n\n{found}"


def examine(
    config: str | os.PathLike[str] | Mapping[str, Any],
    overrides: Iterable[str] = (),
    *,
    trust: Sequence[str] = (),
    images: int = 500,
) -> Examination:
    """Plan a run, open images of every split, draw views, run a few real steps, and advise.

    Nothing of a run folder is changed; a sheet of views is added to one that exists, or written
    into the working directory. Steps are run on one device with its share of the batch, in a folder
    that is gone afterwards.

    Args:
        config: Path or shipped name of a config, a run's folder, or a mapping.
        overrides: ``key=value`` strings.
        trust: Packages whose classes the config may name.
        images: How many images of each split to open; a larger split is sampled evenly.
    """
    composed = configs.compose(config, overrides)
    checked = configs.checked(composed, "fit", trust)
    return _Examiner(checked, composed.name, trust, images).run()


class _Examiner:
    """One examination, its parts in order."""

    def __init__(
        self, checked: Mapping[str, Any], name: str, trust: Sequence[str], images: int
    ) -> None:
        self.config, self.name, self.trust, self.most = checked, name, trust, images
        self.node = dict(checked.get("trainer") or {})
        self.on_error = str((checked.get("data") or {}).get("on_error", "raise"))
        self.lines: list[Line] = []
        self.findings: list[Finding] = []
        self.figures: StepFigures | None = None

    def run(self) -> Examination:
        """Look, draw, measure."""
        plan = plan_of(self.config, self.name, self.trust)
        self.data = assemble.build_data(self.config, self.trust)
        facts = {split: self._look(split) for split in self.data.split_names}
        self._compare()
        if "train" in facts:
            self.findings += advice.on_view_size(facts["train"], self.data.maker.size)
            self._draw(self.data.source("train"))
            if facts["train"].good:
                self._measure()
        return Examination(plan, tuple(self.lines), tuple(advice.sort(self.findings)), self.figures)

    # ---------------------------------------------------------------- images

    def _look(self, split: str) -> SplitFacts:
        facts = look(self.data.source(split), self.most)
        self.lines.append((f"data.{split}", in_words(facts)))
        self.findings += advice.on_images(facts, self.on_error)
        return facts

    def _compare(self) -> None:
        if not {"train", "test"} <= set(self.data.split_names):
            return
        train, test = self.data.source("train"), self.data.source("test")
        found = copies(train, test, _FILES * self.most, _DECODED * self.most)
        self.lines.append(("duplicates", copies_in_words(found)))
        self.findings += advice.on_copies(found)

    def _draw(self, train: Source) -> None:
        run_dir = assemble.run_folder(self.config, self.name)
        path = run_dir / "check_views.png" if run_dir.is_dir() else Path(f"{self.name}_views.png")
        drawn = draw_sheet(train, self.data.maker, path)
        if drawn:
            said = f"{path}: {words.counted(drawn, 'image')} in the first column, views beside"
            self.lines.append(("sheet of views", said))

    # ---------------------------------------------------------------- the step

    def _measure(self) -> None:
        ranks = count_ranks(self.node)
        method = assemble.build_method(self.config, self.trust)
        self._init(method)
        data = self._timed_data(method, ranks)
        try:
            with quiet_lightning(), TemporaryDirectory(prefix="sslight-check-") as folder:
                step = measure(self._trainer_in(Path(folder)), method, data)
        except ImageError:
            return  # said of the images already
        except torch.OutOfMemoryError:
            self.findings.append(_out_of_memory(data, self.node, method))
            return
        clock = first_clock(self.data, self.node)
        if data.num_images("train") < self.data.num_images("train"):
            self._say_partial(data)
        run = advice.length(step, clock.total, clock.per_epoch)
        self.lines += step_lines(step, run, ranks)
        self.findings += advice.on_step(step, self._situation(method, ranks))
        self.findings += advice.on_length(run, step)
        self.figures = step

    def _init(self, method: SSLModule) -> None:
        init = self.config.get("init")
        if init and init != "random":
            with refusing():
                self.lines.append(("init", str(init_backbone(method.backbone, init))))

    def _timed_data(self, method: SSLModule, ranks: int) -> TimedData:
        """Build the data once more, with one device's share of the batch and a stopwatch."""
        node = dict(self.config["data"])
        node["batch_size"] = self.data.batch_size // ranks
        node["on_error"] = "replace"  # what cannot be read has been said
        looks_at_all = type(method).before_epoch is not SSLModule.before_epoch
        if looks_at_all and self.data.num_images("train") > _BEFORE_EPOCH:
            node["limit"] = max(_BEFORE_EPOCH, node["batch_size"])
        config = {**self.config, "data": node}
        return cast(TimedData, assemble.build_data(config, self.trust, TimedData))

    def _trainer_in(self, folder: Path) -> Callable[[pl.Callback], pl.Trainer]:
        node = {key: value for key, value in self.node.items() if key not in _LEFT_OUT}
        node |= {"devices": 1, "limit_val_batches": 0}
        return lambda watch: build_trainer(node, folder, [watch], [], trust=self.trust)

    def _say_partial(self, data: TimedData) -> None:
        self.findings.append(
            Finding(
                "note",
                "The method looks at all images before an epoch; that was done on "
                f"{data.num_images('train'):,} of {self.data.num_images('train'):,} only, and "
                "neither its time nor its memory for the rest is counted.",
            )
        )

    def _situation(self, method: SSLModule, ranks: int) -> advice.Situation:
        has_gpu = torch.cuda.is_available()
        affinity = getattr(os, "sched_getaffinity", None)
        return advice.Situation(
            cores=len(affinity(0)) if affinity else os.cpu_count() or 1,
            ranks=ranks // int(self.node.get("num_nodes", 1)),
            precision=str(self.node.get("precision") or "32-true"),
            gpu_idle=has_gpu and self.node.get("accelerator") == "cpu",
            takes_bf16=has_gpu and torch.cuda.is_bf16_supported(including_emulation=False),
            exact_accumulation=method.accumulation == "exact",
            on_error=self.on_error,
        )


def _out_of_memory(data: TimedData, node: Mapping[str, Any], method: SSLModule) -> Finding:
    accumulate = int(node.get("accumulate_grad_batches", 1))
    other = "" if method.accumulation == "exact" else ", or train_step.name=gradcache (exact)"
    return Finding(
        "problem",
        f"The GPU's memory does not hold {data.batch_size // accumulate} images at a time. Write "
        f"trainer.accumulate_grad_batches={2 * accumulate}{other}, trainer.precision=bf16-mixed, "
        "or a smaller data.batch_size.",
    )
