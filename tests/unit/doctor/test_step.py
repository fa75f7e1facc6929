"""The stopwatch on a tiny method: it ends, measures something, and counts what it ought to."""

from __future__ import annotations

import math

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from sslight import Recipe, SSLModule, StepOutput, make_views
from sslight.data.sources.fake import Fake
from sslight.doctor.step import Stopwatch, TimedData, load_seconds, measure


class Tiny(SSLModule):
    prepared = 0

    def before_epoch(self, clock):
        self.prepared += 1

    def training_loss(self, batch):
        embedding = self.backbone(torch.cat(batch["views"]))
        return StepOutput(embedding.square().mean(), embedding=embedding)


def data(images: int = 400, **options) -> TimedData:
    views = make_views("simclr", size=8)
    return TimedData(Fake(images, size=8), views=views, batch_size=4, workers=0, **options)


def method() -> Tiny:
    backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Tiny(backbone, Recipe(lr=0.1))


def trainer_in(folder, **options):
    fixed = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    options = {"max_epochs": 3, "accelerator": "cpu", **fixed, **options}
    return lambda watch: pl.Trainer(default_root_dir=folder, callbacks=[watch], **options)


@pytest.mark.filterwarnings("ignore")
def test_a_few_steps_are_measured_and_nothing_is_kept(tmp_path):
    tiny, images = method(), data()
    trainers = []
    build = trainer_in(tmp_path)
    seen = measure(lambda watch: trainers.append(build(watch)) or trainers[0], tiny, images)
    assert trainers[0].global_step == 10  # of 300: two to warm up, eight to measure
    assert (seen.images, seen.accumulate, seen.laps, seen.workers) == (4, 1, 8, 0)
    assert min(seen.compute, seen.augment, seen.wait, seen.load) > 0
    assert seen.step == pytest.approx(seen.busy + seen.wait)
    assert math.isfinite(seen.loss)
    assert tiny.prepared == 1
    assert 0 < seen.before_epoch < 5
    assert seen.memory > 2**20
    assert not seen.on_gpu
    assert list(tmp_path.rglob("*.ckpt")) == []


@pytest.mark.filterwarnings("ignore")
def test_accumulated_micro_batches_make_a_step(tmp_path):
    seen = measure(trainer_in(tmp_path, accumulate_grad_batches=2), method(), data())
    assert (seen.images, seen.accumulate) == (2, 2)
    assert seen.step == pytest.approx(2 * (seen.busy + seen.wait))


@pytest.mark.filterwarnings("ignore")
def test_a_training_shorter_than_the_measurement_is_enough(tmp_path):
    seen = measure(trainer_in(tmp_path, max_epochs=1), method(), data(images=4))
    assert seen.laps == 1


def test_the_warm_up_is_left_out():
    watch = Stopwatch(data())
    watch.laps = [(9.0, 9.0, 9.0), (8.0, 8.0, 8.0), (1.0, 2.0, 3.0), (3.0, 2.0, 5.0)]
    assert watch.medians == (2.0, 2.0, 4.0)
    watch.laps = watch.laps[:1]
    assert watch.medians == (9.0, 9.0, 9.0)


def test_a_worker_s_load_leaves_the_threads_alone():
    threads = torch.get_num_threads()
    assert load_seconds(data(), 4) > 0
    assert torch.get_num_threads() == threads
