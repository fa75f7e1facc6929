import logging

import pytest
import torch
from torch.utils.data import DataLoader

from sslight.callbacks.checkpoint import Checkpoint
from sslight.callbacks.ema_weights import EmaWeights
from sslight.callbacks.knn import KNN
from sslight.eval.votes import count_right


def measurements(logged, name="knn/top1"):
    return [(value, step) for n, value, step in logged if n == name]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"check_val_every_n_epoch": 2},
        {"val_check_interval": 1},
        {"val_check_interval": 0.5},
        {"limit_val_batches": 0},
        {"accumulate_grad_batches": 3},
    ],
)
def test_runs_once_per_epoch_whatever_validation_does(kit, tmp_path, logged, options):
    trainer = kit.trainer(tmp_path, KNN(k=3), **options)
    trainer.fit(kit.Method(), datamodule=kit.Data())
    per_epoch = 1 if "accumulate_grad_batches" in options else 3
    assert [step for _, step in measurements(logged)] == [per_epoch * e for e in (1, 2, 3)]


def test_runs_every_n_epochs_and_after_the_last(kit, tmp_path, logged):
    trainer = kit.trainer(tmp_path, KNN(k=3, every_n_epochs=2), epochs=5)
    trainer.fit(kit.Method(), datamodule=kit.Data())
    assert [step for _, step in measurements(logged)] == [6, 12, 15]


def test_a_run_that_ends_within_an_epoch_is_measured_at_its_end(kit, tmp_path, logged):
    kit.trainer(tmp_path, KNN(k=3), max_steps=4).fit(kit.Method(), datamodule=kit.Data())
    assert [step for _, step in measurements(logged)] == [3, 4]


def test_the_value_is_that_of_the_votes(kit, tmp_path):
    method, data = kit.Method(), kit.Data()
    trainer = kit.trainer(tmp_path, KNN(k=[3, 7], temperature=[0.07, 1.0]))
    trainer.fit(method, datamodule=data)
    with torch.no_grad():
        bank, queries = method.dataset_features("train"), method.dataset_features("test")
    labels = data.rows["train"].labels, data.rows["test"].labels
    tally = count_right(bank, labels[0], queries, labels[1], k=[3, 7], temperature=[0.07, 1.0])
    for i, ((k, t), (top1, top5)) in enumerate(tally.accuracy().items()):
        names = [f"k{k}_t{t:g}"] if i else [f"k{k}_t{t:g}", None]
        for name in names:
            suffix = f"_{name}" if name else ""
            assert trainer.callback_metrics[f"knn/top1{suffix}"].item() == pytest.approx(top1)
            assert trainer.callback_metrics[f"knn/top5{suffix}"].item() == pytest.approx(top5)
    assert tally.accuracy()[(3, 0.07)][0] > 0.8


def test_another_split_has_its_own_name(kit, tmp_path, logged):
    data = kit.Data()
    data.rows["val"] = kit.Rows(9, seed=5)
    kit.trainer(tmp_path, KNN(k=3), KNN(k=3, split="val"), epochs=1).fit(kit.Method(), data)
    assert len(measurements(logged)) == len(measurements(logged, "knn_val/top1")) == 1


def test_max_train_is_one_seeded_draw(kit, tmp_path):
    rows = KNN(max_train=5)._train_rows(torch.tensor([0, -1] * 10), seed=3)
    assert torch.equal(rows, KNN(max_train=5)._train_rows(torch.tensor([0, -1] * 10), seed=3))
    assert len(rows) == len(set(rows.tolist())) == 5
    assert (rows % 2 == 0).all()
    assert (rows.diff() > 0).all()
    method = kit.Method()
    kit.trainer(tmp_path, KNN(k=3, max_train=5), epochs=1).fit(method, datamodule=kit.Data())
    assert [(split, n) for split, n, _ in method.asked] == [("train", 5), ("test", None)]


def test_a_resumed_run_measures_the_same_once(kit, tmp_path, logged):
    def run(resume=None):
        logged.clear()
        saver = Checkpoint(every_n_steps=2, keep_last=99, folder=tmp_path)
        trainer = kit.trainer(tmp_path, KNN(k=3), saver, epochs=4, enable_checkpointing=True)
        trainer.fit(kit.Method(lr=0.5), kit.Data(), ckpt_path=resume, weights_only=True)
        return measurements(logged)

    straight = run()
    assert [step for _, step in straight] == [3, 6, 9, 12]
    for step in (2, 6, 8, 12):  # within an epoch, at an epoch's end, within another, at the end
        again = run(tmp_path / f"step_{step:09d}.ckpt")
        assert again == [row for row in straight if row[1] > step]


def test_state_says_when_it_ran(kit, tmp_path, logged):
    knn = KNN(k=3)
    kit.trainer(tmp_path, knn, epochs=2).fit(kit.Method(), datamodule=kit.Data())
    again = KNN(k=3)
    again.load_state_dict(knn.state_dict())
    assert again._measured_at == (1, 6)


def test_small_train_splits_lower_k_with_a_line(kit, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "sslight"):
        kit.trainer(tmp_path, KNN(k=50), epochs=1).fit(kit.Method(), datamodule=kit.Data(n=24))
    assert "only 24 labelled train images, so k=[24] for [50]" in caplog.text


def test_averaged_weights_are_what_is_measured(kit, tmp_path, monkeypatch):
    monkeypatch.setattr("sslight.checkpoints.save_backbone", lambda *a, **k: None)
    for options in ({}, {"limit_val_batches": 0}):
        method, ema = kit.Method(), EmaWeights(0.9, evaluate=True)
        trainer = kit.trainer(tmp_path, KNN(k=3), ema, epochs=1, **options)
        trainer.fit(method, datamodule=kit.Data())
        average = ema._average["backbone.0.weight"]
        assert all(torch.equal(seen, average) for seen in method.seen_weights)
        assert not torch.equal(method.backbone[0].weight, average)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"labels": "none"}, "split 'train' has no labels"),
        ({"labels": "several"}, "several labels per image"),
        ({"test": False}, "no split 'test' in the data (train)"),
        (None, "needs an SSLModule and an SSLDataModule"),
    ],
)
def test_switches_off_with_one_line(kit, tmp_path, caplog, logged, data, words):
    trainer = kit.trainer(tmp_path, KNN(k=3))
    with caplog.at_level(logging.WARNING, "sslight"):
        if data is None:
            trainer.fit(kit.Method(), DataLoader(kit.Rows(16), 8))
        else:
            trainer.fit(kit.Method(), datamodule=kit.Data(**data))
    lines = [r.getMessage() for r in caplog.records if r.name == "sslight"]
    assert len(lines) == 1
    assert lines[0].startswith("callback KNN is off: ")
    assert words in lines[0]
    assert not logged


@pytest.mark.parametrize(
    "bad", [{"k": 0}, {"k": []}, {"temperature": 0.0}, {"every_n_epochs": 0}, {"max_train": 0}]
)
def test_wrong_options_are_named(bad):
    with pytest.raises(ValueError, match=f"callback knn: got .*{next(iter(bad))}"):
        KNN(**bad)
