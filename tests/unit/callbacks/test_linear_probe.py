import io
import logging

import pytest
import torch
from torch.utils.data import DataLoader

from sslight.callbacks.checkpoint import Checkpoint
from sslight.callbacks.linear_probe import LinearProbe


@pytest.fixture
def never_logging(monkeypatch):
    monkeypatch.setattr("sslight.callbacks.linear_probe.is_logging_step", lambda trainer: False)


@pytest.mark.parametrize(("optimizer", "lr"), [("sgd", 1.0), ("adamw", 0.1)])
def test_learns_what_the_embeddings_hold(kit, tmp_path, logged, optimizer, lr):
    probe = LinearProbe(lr=lr, optimizer=optimizer)
    kit.trainer(tmp_path, probe, epochs=8).fit(kit.Method(lr=1e-3), kit.Data())
    losses = [value for name, value, _ in logged if name == "probe/loss"]
    assert losses[0] == pytest.approx(torch.log(torch.tensor(3.0)).item())  # zero weights
    assert losses[-1] < 0.3 * losses[0]
    assert [v for n, v, _ in logged if n == "probe/val_top1"][-1] > 0.9
    assert [v for n, v, _ in logged if n == "probe/top1"][-1] > 0.9


def standardised(rows):
    return (rows - rows.mean(0)) / rows.std(0, correction=0) / rows.shape[1] ** 0.5


def test_steps_equal_a_plain_loop(never_logging):
    g = torch.Generator().manual_seed(0)
    steps = [
        (torch.randn(8, 5, generator=g), torch.randint(-1, 3, (4,), generator=g)) for _ in "1234"
    ]
    probe = LinearProbe(lr=0.3, momentum=0.8, weight_decay=0.01)
    probe._classes = 3
    reference = torch.nn.Linear(5, 3)
    torch.nn.init.zeros_(reference.weight)
    torch.nn.init.zeros_(reference.bias)
    optimizer = torch.optim.SGD(reference.parameters(), 0.3, momentum=0.8, weight_decay=0.01)
    for embedding, label in steps:
        outputs = {"embedding": embedding.requires_grad_()}
        probe.on_train_batch_end(None, None, outputs, {"label": label}, 0)
        assert embedding.grad is None
        optimizer.zero_grad()
        target = torch.cat([label, label])  # crop-major: all first views, then all second ones
        torch.nn.functional.cross_entropy(
            reference(standardised(embedding.detach())), target, ignore_index=-1
        ).backward()
        optimizer.step()
    torch.testing.assert_close(probe.weight, reference.weight, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(probe.bias, reference.bias, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_scale_and_offset_of_the_embeddings_do_not_matter(never_logging, scale):
    g = torch.Generator().manual_seed(0)
    probes = LinearProbe(), LinearProbe()
    for _ in range(5):
        rows, label = torch.randn(8, 5, generator=g), torch.randint(0, 3, (8,), generator=g)
        for probe, embedding in zip(probes, (rows, scale * (rows + 2)), strict=True):
            probe._classes = 3
            probe.on_train_batch_end(None, None, {"embedding": embedding}, {"label": label}, 0)
    torch.testing.assert_close(probes[0].weight, probes[1].weight, rtol=1e-2, atol=1e-2)


def test_running_moments_are_a_plain_mean_at_first():
    probe = LinearProbe()
    batches = [torch.randn(6, 4) for _ in range(12)]
    for batch in batches[:10]:
        probe._update_moments(batch)
    rows = torch.cat(batches[:10])
    torch.testing.assert_close(probe._moments, torch.stack([rows.mean(0), rows.square().mean(0)]))
    before = probe._moments
    now = probe._update_moments(batches[10])
    torch.testing.assert_close(probe._moments, 0.9 * before + 0.1 * now)


def test_a_batch_without_labels_leaves_finite_weights(never_logging):
    probe = LinearProbe()
    probe._classes = 3
    label = torch.full((4,), -1)
    probe.on_train_batch_end(None, None, {"embedding": torch.randn(8, 5)}, {"label": label}, 0)
    assert torch.equal(probe.weight, torch.zeros(3, 5))


def test_low_precision_embeddings_are_computed_in_float32(never_logging):
    probe = LinearProbe()
    probe._classes = 3
    embedding = torch.randn(8, 5, dtype=torch.bfloat16)
    probe.on_train_batch_end(
        None, None, {"embedding": embedding}, {"label": torch.arange(8) % 3}, 0
    )
    assert probe.weight.dtype == torch.float32
    assert probe.weight.abs().sum() > 0


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_resumed_equals_straight(kit, tmp_path, optimizer):
    def run(resume=None):
        probe = LinearProbe(optimizer=optimizer)
        saver = Checkpoint(every_n_steps=2, keep_last=99, folder=tmp_path)
        trainer = kit.trainer(tmp_path, probe, saver, enable_checkpointing=True)
        trainer.fit(kit.Method(), kit.Data(), ckpt_path=resume, weights_only=True)
        return probe.weight.detach().clone(), trainer.callback_metrics["probe/val_top1"]

    straight = run()
    for step in (4, 6):
        weight, top1 = run(tmp_path / f"step_{step:09d}.ckpt")
        assert torch.equal(weight, straight[0])
        assert top1 == straight[1]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_state_loads_with_weights_only(kit, tmp_path, optimizer):
    probe = LinearProbe(optimizer=optimizer)
    kit.trainer(tmp_path, probe, epochs=1).fit(kit.Method(), kit.Data())
    file = io.BytesIO()
    torch.save(probe.state_dict(), file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    assert torch.equal(loaded["weight"], probe.weight)
    assert loaded["optimizer"]["state"]


def test_state_survives_a_save_before_the_first_batch():
    probe = LinearProbe()
    assert probe.state_dict() == {}
    probe.load_state_dict({"weight": torch.ones(3, 5)})
    assert torch.equal(probe.state_dict()["weight"], torch.ones(3, 5))


def test_a_probe_of_another_shape_is_refused(kit, tmp_path):
    probe = LinearProbe()
    probe._classes = 3
    probe.load_state_dict({"weight": torch.zeros(4, 5), "bias": torch.zeros(4), "optimizer": {}})
    with pytest.raises(ValueError, match=r"probe is \(4, 5\), this run's .* is \(3, 5\)"):
        probe._step(torch.randn(4, 5), torch.zeros(4, dtype=torch.int64))


def test_validation_counts_labelled_finite_rows_only(kit):
    probe = LinearProbe()
    probe.weight, probe.bias = torch.eye(3), torch.zeros(3)
    rows = torch.eye(3)[[0, 1, 2, 0]]
    rows[3] = float("nan")
    label = torch.tensor([0, 2, -1, 0])
    trainer = type("T", (), {"sanity_checking": False})()
    probe.on_validation_batch_end(trainer, None, {"embedding": rows, "label": label}, {}, 0)
    assert probe._right.tolist() == [1, 2]
    probe.on_validation_batch_end(trainer, None, {"embedding": rows, "label": label}, {}, 0, 1)
    assert probe._right.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("data", "method", "words"),
    [
        ({"labels": "none"}, {}, "split 'train' has no labels"),
        ({"labels": "several"}, {}, "several labels per image"),
        ({}, {"embeds": False}, "the method gives no embedding"),
        (None, {}, "give num_classes or an SSLDataModule"),
    ],
)
def test_switches_off_with_one_line(kit, tmp_path, caplog, logged, data, method, words):
    trainer = kit.trainer(tmp_path, LinearProbe())
    with caplog.at_level(logging.WARNING, "sslight"):
        if data is None:
            trainer.fit(kit.Method(**method), DataLoader(kit.Rows(16), 8))
        else:
            trainer.fit(kit.Method(**method), datamodule=kit.Data(**data))
    lines = [r.getMessage() for r in caplog.records if r.name == "sslight"]
    assert len(lines) == 1
    assert lines[0].startswith("callback LinearProbe is off: ")
    assert words in lines[0]
    assert not logged


def test_works_with_a_plain_loader_when_told_the_classes(kit, tmp_path, logged):
    trainer = kit.trainer(tmp_path, LinearProbe(num_classes=3), epochs=1)
    trainer.fit(kit.Method(), DataLoader(kit.Rows(16), 8))
    assert [name for name, *_ in logged] == ["probe/loss", "probe/top1"] * 2


@pytest.mark.parametrize("bad", [{"lr": 0}, {"optimizer": "adam"}, {"num_classes": 1}])
def test_wrong_options_are_named(bad):
    with pytest.raises(ValueError, match=f"linear_probe: .*{next(iter(bad))}"):
        LinearProbe(**bad)
