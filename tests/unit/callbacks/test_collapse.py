import logging
from types import SimpleNamespace

import pytest
import torch

from sslight.callbacks.checkpoint import Checkpoint
from sslight.callbacks.collapse import Collapse
from sslight.metrics import effective_rank, feature_std, rankme, uniformity


class Loop:
    """Feeds embeddings to a callback; every step is a logging step unless told otherwise."""

    def __init__(self, monkeypatch, callback):
        self.trainer = SimpleNamespace(is_global_zero=True, global_step=0, should_stop=False)
        self.trainer.log_every_n_steps = 1
        self.logged, self.logging, self.callback = {}, True, callback
        self.module = SimpleNamespace(log_dict=self.logged.update)
        monkeypatch.setattr("sslight.callbacks.collapse.is_logging_step", lambda t: self.logging)

    def __call__(self, embedding, times=1):
        for _ in range(times):
            self.trainer.global_step += 1
            out = {"embedding": embedding() if callable(embedding) else embedding}
            self.callback.on_train_batch_end(self.trainer, self.module, out, {}, 0)


@pytest.fixture
def loop(monkeypatch, caplog):
    caplog.set_level(logging.WARNING, "sslight")
    return lambda **options: Loop(monkeypatch, Collapse(**options))


def spread():
    return torch.randn(128, 32)


def similar():
    """An untrained backbone: non-negative, mean cosine similarity about 0.97."""
    return (1 + 0.2 * torch.randn(128, 32)).relu()


def constant():
    return torch.rand(1, 32, generator=torch.Generator().manual_seed(0)).repeat(128, 1)


def nearly_constant():
    return constant() + 1e-3 * torch.randn(128, 32)


def line():
    return torch.randn(128, 1) * torch.rand(1, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("healthy", [spread, similar, lambda: spread().bfloat16()])
def test_silent_on_healthy_embeddings(loop, caplog, healthy):
    loop()(healthy, times=10)
    assert not caplog.records


@pytest.mark.parametrize(
    ("sick", "words"),
    [(constant, "almost equal"), (nearly_constant, "almost equal"), (line, "about 1.0 directions")],
)
def test_rings_once_and_says_what_to_do(loop, caplog, sick, words):
    feed = loop()
    feed(sick, times=10)
    (record,) = caplog.records
    text = record.getMessage()
    assert words in text
    assert text.startswith("collapse at step 2:")
    for cure in ("optim.lr", "temperature", "batch norm", "EMA momentum", "weight_decay"):
        assert cure in text
    assert not feed.trainer.should_stop


def test_rings_early_when_training_falls_ill(loop, caplog):
    feed = loop(buffer=128, patience=3)
    feed(spread, times=5)
    feed(constant, times=2)
    assert not caplog.records
    feed(constant)
    assert len(caplog.records) == 1


def test_a_blip_does_not_ring(loop, caplog):
    feed = loop(buffer=128)
    for _ in range(5):
        feed(constant)
        feed(spread)
    assert not caplog.records


def test_a_new_onset_rings_again_but_not_one_that_hovers(loop, caplog):
    feed = loop(buffer=128, min_std=0.5)
    hover = (constant() / constant().norm(dim=1, keepdim=True)).expand(128, 32)
    feed(constant, times=3)
    for _ in range(3):
        feed(lambda: hover + 0.11 * torch.randn(128, 32), times=1)  # above min_std, below recovery
        feed(constant, times=2)
    assert len(caplog.records) == 1
    feed(spread, times=2)
    feed(constant, times=2)
    assert len(caplog.records) == 2


def test_can_stop_the_run(loop, caplog):
    feed = loop(stop=True)
    feed(constant, times=2)
    assert feed.trainer.should_stop
    assert "training stops here" in caplog.text


def test_values_are_those_of_the_last_rows(loop):
    torch.manual_seed(0)
    feed = loop(buffer=100)
    batches = [torch.randn(32, 8) + 1 for _ in range(7)]
    for batch in batches:
        feed(batch)
    last = torch.cat(batches)[-100:]
    unit = torch.nn.functional.normalize(last, dim=1)
    expected = {
        "collapse/std": feature_std(last),
        "collapse/rank": effective_rank(unit),
        "collapse/rankme": rankme(last),
        "collapse/uniformity": uniformity(last),
    }
    assert feed.logged == pytest.approx({k: v.item() for k, v in expected.items()}, rel=1e-5)


def test_few_rows_are_measured_but_not_judged(loop, caplog):
    feed = loop()
    feed(constant()[:10], times=6)
    assert feed.logged["collapse/std"] == 0
    assert not caplog.records
    feed(constant()[:10], times=2)
    assert caplog.records


def test_nothing_is_measured_between_logging_steps(loop):
    feed = loop()
    feed.logging = False
    feed(constant, times=5)
    assert not feed.logged


def test_every_nth_logging_step_is_measured_from_the_first_on(loop):
    feed, measured = loop(every_n_logs=3), []
    for step in range(1, 9):
        feed.logged.clear()
        feed(spread)
        measured += [step] if feed.logged else []
    assert measured == [1, 4, 7]


def test_embeddings_that_are_not_finite_are_left_to_nan_guard(loop, caplog):
    feed = loop()
    feed(torch.full((128, 4), float("nan")), times=4)
    assert not caplog.records
    assert not feed.logged


def test_switches_off_without_embeddings(loop, caplog):
    loop()(None, times=3)
    (record,) = caplog.records
    assert record.getMessage().startswith("callback Collapse is off: the method gives no embedding")


def test_resumed_metrics_equal_straight_ones(kit, tmp_path, logged):
    def run(resume=None):
        logged.clear()
        saver = Checkpoint(every_n_steps=2, keep_last=99, folder=tmp_path)
        trainer = kit.trainer(tmp_path, Collapse(buffer=64), saver, enable_checkpointing=True)
        trainer.fit(kit.Method(), kit.Data(), ckpt_path=resume, weights_only=True)
        return list(logged)

    straight = run()
    assert {name for name, *_ in straight} >= {"collapse/std", "collapse/rank"}
    resumed = run(tmp_path / "step_000000004.ckpt")
    assert resumed == [row for row in straight if row[2] > 4]


def test_another_buffer_size_starts_anew(loop):
    first = Collapse(buffer=100)
    first._keep(torch.randn(50, 8))
    second = Collapse(buffer=200)
    second.load_state_dict(first.state_dict())
    second._keep(torch.randn(20, 8))
    assert second._filled == 20


@pytest.mark.parametrize("bad", [{"buffer": 10}, {"patience": 0}, {"min_std": -1}])
def test_wrong_options_are_named(bad):
    with pytest.raises(ValueError, match=f"callback collapse: .*{next(iter(bad))}"):
        Collapse(**bad)
