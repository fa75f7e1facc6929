"""``sslight fit``: train, from wherever the run stands."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger

from sslight import config as configs
from sslight import resume
from sslight.callbacks.checkpoint import Checkpoint, checkpoints
from sslight.checkpoints import init_backbone, load_backbone, method_record, save_backbone
from sslight.data.datamodule import SSLDataModule
from sslight.data.sampler import check_batch_size
from sslight.errors import RefusedRunError, refusing
from sslight.heap import keep_freed_memory
from sslight.loggers import JsonlLogger, log_failures, write_log_file
from sslight.module import SSLModule
from sslight.modules.ema import EMA
from sslight.run import assemble
from sslight.run.compiling import compile_method
from sslight.run.environment import command_line, note_start
from sslight.run.plan import check_schedules, first_clock
from sslight.run.report import write_at_end
from sslight.run.result import FitResult
from sslight.run.summary import in_words, say_what_next
from sslight.run.trainer import build_trainer, quiet_lightning
from sslight.strategies import is_trial
from sslight.utils import write_atomically

log = logging.getLogger("sslight")


def fit(
    config: str | os.PathLike[str] | Mapping[str, Any],
    overrides: Iterable[str] = (),
    *,
    method: SSLModule | None = None,
    data: SSLDataModule | None = None,
    callbacks: Sequence[Callback] = (),
    logger: Logger | Sequence[Logger] | None = None,
    trust: Sequence[str] = (),
    accept: Sequence[str] = (),
) -> FitResult:
    """Train a method, or go on with a run that was stopped.

    Args:
        config: Path or shipped name of a config, or a mapping.
        overrides: ``key=value`` strings.
        method: A method object in place of the config's ``method``, ``backbone`` and ``optim``.
        data: A data module in place of the config's ``data``.
        callbacks: Callbacks beside the config's (VISSL's hooks).
        logger: Loggers in place of TensorBoard; metrics.jsonl is always written.
        trust: Packages whose classes the config may name.
        accept: Config keys whose change since the run began is accepted.

    Returns:
        The objects of the finished run.

    Raises:
        ConfigError: Problems of the config, all at once.
        ResumeError: The run folder and the command contradict each other.
    """
    composed = configs.compose(config, overrides)
    objects = {"method": method, "data": data}
    given = [name for name, thing in objects.items() if thing is not None]
    checked = configs.checked(composed, "fit", trust, given)
    with assemble.folder_of_run(checked, composed.name) as run_dir:
        start = resume.decide(run_dir, checked.get("resume", "auto"))
        try:
            with write_log_file(run_dir), quiet_lightning(), log_failures():
                walk = _Walk(composed, checked, run_dir, start.checkpoint, trust, accept)
                return walk.run(method, data, callbacks, logger)
        finally:
            resume.release(start)


class _Walk:
    """One walk through fit, its steps in order."""

    def __init__(
        self,
        composed: configs.Config,
        checked: Mapping[str, Any],
        run_dir: Path,
        checkpoint: Path | None,
        trust: Sequence[str],
        accept: Sequence[str],
    ) -> None:
        self.composed, self.config = composed, checked
        self.run_dir, self.checkpoint = run_dir, checkpoint
        self.trust, self.accept = trust, accept
        self.stored = resume.read_identity(checkpoint) if checkpoint else {}

    def run(
        self,
        method: SSLModule | None,
        data: SSLDataModule | None,
        callbacks: Sequence[Callback],
        loggers: Logger | Sequence[Logger] | None,
    ) -> FitResult:
        """Check against the run, build, train what is left, write what the run is for."""
        self._refuse_other_config()
        self.data = data or assemble.build_data(self.config, self.trust)
        self._refuse_other_images()
        self._write_config()
        self.method = method or assemble.build_method(self.config, self.trust)
        with refusing():
            self._init_weights()
        self.method.channels_last = self.config.get("channels_last", self.method.channels_last)
        if self.config.get("compile"):
            compile_method(self.method, self.config["compile"])
        self.callbacks = [*assemble.build_callbacks(self.config, self.trust)]
        self.callbacks += callbacks
        self.trainer = build_trainer(
            self.config.get("trainer") or {},
            self.run_dir,
            self.callbacks,
            loggers,
            trust=self.trust,
            start_step=int(self.stored.get("step", 0)),
        )
        self._tell_checkpoints()
        return self._go()

    def _refuse_other_config(self) -> None:
        if self.checkpoint:
            found = resume.differences(self.stored, self.config, self.accept)
            resume.refuse(self.run_dir, found)

    def _refuse_other_images(self) -> None:
        splits = [name for name in ("train", "test") if name in self.data.split_names]
        self.fingerprints: dict[str, str] = {
            name: self.data.source(name).fingerprint() for name in splits
        }
        found = resume.index_differences(self.stored, self.fingerprints, self.accept)
        resume.refuse(self.run_dir, found)

    def _write_config(self) -> None:
        """Write the composed, unresolved config; an older, different one is kept beside it."""
        if not resume.is_first_process():
            return
        path = self.run_dir / "config.yaml"
        before = path.read_bytes() if path.exists() else None
        configs.save(self.composed, path)
        self.older_config = self.run_dir / f"config.until_step_{self.stored.get('step', 0)}.yaml"
        if before is not None and before != path.read_bytes():
            write_atomically(self.older_config, before)

    def _take_config_back(self) -> None:
        if resume.is_first_process() and self.older_config.exists():
            self.older_config.replace(self.run_dir / "config.yaml")

    def _init_weights(self) -> None:
        init = self.config.get("init")
        if not init or init == "random":
            return
        if self.checkpoint:
            log.info("init: %s is ignored: the run goes on from %s.", init, self.checkpoint)
        else:
            log.info("%s", init_backbone(self.method.backbone, init))
            for module in self.method.modules():
                if isinstance(module, EMA):
                    module.restart()  # a teacher starts from the loaded weights too

    def _tell_checkpoints(self) -> None:
        """Let checkpoints say what the run is made from and how to go on with it."""
        identity = resume.identity(self.config, self.fingerprints)
        record = method_record(self.method, self.data.clean_view())
        for callback in self.callbacks:
            if isinstance(callback, Checkpoint):
                callback.extra = {**record, **identity}
                callback.how_to_continue = f"To continue: {command_line()}"

    def _go(self) -> FitResult:
        result = FitResult(self.method, self.data, self.trainer, self.run_dir)
        if "train" not in self.data.split_names:
            log.info("There is no data.train: one validation, no training (see `sslight eval`).")
            log.info("Weights: %s.", self.checkpoint or self.config.get("init") or "random")
            self.trainer.validate(
                self.method, datamodule=self.data, ckpt_path=self.checkpoint, verbose=False
            )
            log.info("%s", in_words(result.metrics) or "Nothing measures the test split.")
            return result
        clock = first_clock(self.data, self.config.get("trainer") or {})
        self._check_batch_size()
        check_schedules(self.method.recipe, self.data.batch_size, clock)
        self._say_where_it_starts()
        if self.trainer.is_global_zero:
            note_start(self.run_dir, command_line(), self.trainer, self.data, clock.total)
        self._train()
        self.data.bad_images.say()
        if self.trainer.is_global_zero:
            self._finish(clock.total)
        return result

    def _check_batch_size(self) -> None:
        trainer, images = self.trainer, self.data.num_images("train")
        parts = trainer.world_size, trainer.accumulate_grad_batches
        check_batch_size(images, self.data.batch_size, *parts)

    def _train(self) -> None:
        """Train; say in a sentence that a checkpoint is of another network (torch needs pages)."""
        try:
            with keep_freed_memory(self.trainer.strategy.root_device):
                self.trainer.fit(self.method, datamodule=self.data, ckpt_path=self.checkpoint)
        except RuntimeError as error:
            lines = str(error).splitlines()
            if self.checkpoint is None or not lines or "loading state_dict" not in lines[0]:
                raise
            self._take_config_back()
            raise RefusedRunError(
                f"{self.checkpoint} does not fit the network of this config ({len(lines) - 1} "
                f"differences, the first: {' '.join(lines[1:2]).strip()}). A change of the network "
                "cannot be accepted: start a new run with another run_dir, or restore the old "
                "values."
            ) from error

    def _say_where_it_starts(self) -> None:
        self._cut_logs(int(self.stored.get("step", -1)))
        rate = self.method.recipe.describe_lr(self.data.batch_size)
        if self.checkpoint is None:
            log.info("Starting a run in %s: %s.", self.run_dir, rate)
            return
        step, how = int(self.stored["step"]), "is finished" if self._is_finished() else "goes on"
        log.info("The run in %s %s (after step %d, %s).", self.run_dir, how, step, self.checkpoint)
        self._warn_of_threads()

    def _is_finished(self) -> bool:
        """Whether the run ended, and this command asks for no more than it did."""
        path = self.run_dir / "finished.json"
        if not path.exists():
            return False
        done, trainer = json.loads(path.read_text()), self.trainer
        steps_left = trainer.max_steps == -1 or done["step"] < trainer.max_steps
        epochs = trainer.max_epochs or 0
        return not (steps_left and (epochs == -1 or done["epoch"] < epochs))

    def _cut_logs(self, step: int) -> None:
        """Remove the rows of steps that this run will do again."""
        for sink in self.trainer.loggers:
            if isinstance(sink, JsonlLogger) and resume.is_first_process():
                sink.truncate_after(step)

    def _warn_of_threads(self) -> None:
        before, now = self.stored.get("threads"), resume.identity({}, {})["threads"]
        if before != now:
            log.warning(
                "The run used %s threads and this process uses %s. Sums may round differently, so "
                "the result need not be bit for bit that of a straight run (OMP_NUM_THREADS=%s).",
                before,
                now,
                before,
            )

    def _finish(self, total: int) -> None:
        step = self.trainer.global_step
        backbone = self.method.eval_backbone
        if any(hasattr(parameter, "full_tensor") for parameter in backbone.parameters()):
            # Sharded weights are whole in the last checkpoint.
            backbone = load_backbone(checkpoints(self.run_dir / "checkpoints")[-1]).backbone
        meta = {"method": self.config.get("method"), "step": step}
        target = self.run_dir / "backbone.safetensors"
        save_backbone(backbone, target, meta, view=self.data.clean_view())
        finished = json.dumps({"step": step, "epoch": self.trainer.current_epoch})
        write_atomically(self.run_dir / "finished.json", f"{finished}\n".encode())
        if not is_trial(self.trainer):
            usable = bool(self.config.get("data"))  # by a command that has the config only
            page = write_at_end(self.run_dir, self.data, self.config) if usable else None
            say_what_next(self.run_dir, self.trainer, self.data, total, page, commands=usable)
