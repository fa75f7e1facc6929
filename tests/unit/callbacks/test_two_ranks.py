"""The callbacks on two gloo ranks: the same decisions, and the numbers of one process."""

import json
from types import SimpleNamespace

import pytest
import torch
from ranks import run_ranks

from sslight.callbacks import collapse, knn, linear_probe, nan_guard
from sslight.distributed import rank, world_size
from sslight.eval.votes import count_right


def example(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


LABELS = torch.tensor([0, 1, 2, -1, -1, 0, 1, 1])


FEATURES = {"train": example(1, 30, 5), "test": example(2, 7, 5)}


class Data:
    split_names = ("train", "test")

    def labels(self, split):
        return (torch.arange(len(FEATURES[split])) % 3).numpy()

    def eval_loader(self):
        """Only its presence is asked for."""


class Method:
    seed = 0
    device = torch.device("cpu")

    def __init__(self):
        self.logged = {}

    def log(self, name, value, **_):
        self.logged[name] = float(value)

    def log_dict(self, values):
        self.logged |= {name: float(value) for name, value in values.items()}

    def dataset_features(self, split, rows=None):
        features = FEATURES[split]
        return features if rows is None else features[torch.as_tensor(rows)]


def stage(folder="."):
    for module in (collapse, linear_probe, nan_guard):
        module.is_logging_step = lambda trainer: True
    trainer = SimpleNamespace(
        datamodule=Data(),
        current_epoch=0,
        global_step=3,
        max_steps=-1,
        max_epochs=1,
        callbacks=[],
        is_global_zero=rank() == 0,
        is_last_batch=True,
        should_stop=False,
        sanity_checking=False,
        default_root_dir=folder,
    )
    return trainer, Method()


def mine(rows):
    return rows.chunk(world_size())[rank()]


def probe_run():
    """Four steps on this rank's part of the batch, then a validation with uneven shares."""
    trainer, method = stage()
    probe = linear_probe.LinearProbe(lr=0.5)
    probe._classes = 3
    for step in range(4):
        out = {"embedding": mine(example(step, 8, 5))}
        probe.on_train_batch_end(trainer, method, out, {"label": mine(LABELS)}, step)
    rows, label = (
        example(9, 7, 5)[rank() :: world_size()],
        (torch.arange(7) % 3)[rank() :: world_size()],
    )
    probe.on_validation_batch_end(trainer, method, {"embedding": rows, "label": label}, {}, 0)
    probe.on_validation_epoch_end(trainer, method)
    return probe.weight.detach(), method.logged


def knn_run():
    trainer, method = stage()
    callback = knn.KNN(k=[3, 5])
    callback.on_fit_start(trainer, method)
    callback.on_train_epoch_end(trainer, method)
    return method.logged


def collapse_run(kind):
    """Three steps; the second rank's last rows differ, and state is taken up half-way."""
    trainer, method = stage()
    callback = collapse.Collapse(buffer=64, stop=True)
    for step in range(4):
        rows = example(step, 128, 6) if kind == "spread" else torch.ones(128, 6)
        callback.on_train_batch_end(trainer, method, {"embedding": mine(rows)}, {}, 0)
        if step == 1:
            state = callback.state_dict()
            callback = collapse.Collapse(buffer=64, stop=True)
            callback.load_state_dict(state)
    return method.logged, trainer.should_stop


def nan_run(folder, bad_rank):
    trainer, method = stage(folder)
    guard = nan_guard.NanGuard()
    guard.on_train_batch_start(trainer, method, {}, 2)
    loss = torch.tensor(float("nan") if rank() == bad_rank else 1.0)
    try:
        index = torch.arange(3) + 10 * rank()
        guard.on_train_batch_end(trainer, method, {"loss": loss}, {"index": index}, 2)
    except nan_guard.NonFiniteLossError as error:
        return str(error)
    return None


def everything(folder):
    return {
        "probe": probe_run(),
        "knn": knn_run(),
        "spread": collapse_run("spread"),
        "constant": collapse_run("constant"),
        "nan": nan_run(folder, 1),
        "finite": nan_run(folder, None),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def two(folder):
    return run_ranks(2, everything, str(folder))


@pytest.fixture
def _one_process(monkeypatch):
    for module in (collapse, linear_probe, nan_guard):
        monkeypatch.setattr(module, "is_logging_step", None)  # put back after stage() sets it


@pytest.mark.ranks
class TestTwoRanks:
    @pytest.mark.usefixtures("_one_process")
    def test_probe_equals_one_process_with_the_whole_batch(self, two):
        weight, logged = probe_run()
        for other, values in (outcome["probe"] for outcome in two):
            torch.testing.assert_close(other, weight)
            assert values == pytest.approx(logged, rel=1e-5)
        assert torch.equal(two[0]["probe"][0], two[1]["probe"][0])

    def test_knn_counts_every_query_once(self, two):
        labels = [torch.as_tensor(Data().labels(split)) for split in ("train", "test")]
        features = FEATURES
        tally = count_right(features["train"], labels[0], features["test"], labels[1], k=[3, 5])
        expected = {
            f"knn/{name}_k{k}_t0.07": value
            for (k, _), pair in tally.accuracy().items()
            for name, value in zip(("top1", "top5"), pair, strict=True)
        }
        for outcome in two:
            assert outcome["knn"].items() >= expected.items()

    def test_collapse_measures_all_ranks_rows_and_stops_together(self, two):
        assert two[0]["spread"] == two[1]["spread"]
        assert two[0]["spread"][1] is False
        assert two[0]["spread"][0]["collapse/std"] > 0.9
        assert [outcome["constant"][1] for outcome in two] == [True, True]

    def test_nan_on_one_rank_stops_both_and_keeps_its_indices(self, two, folder):
        assert two[0]["nan"] == two[1]["nan"]
        assert "step 4 (epoch 0, batch 2, rank 1)" in two[0]["nan"]
        assert json.loads((folder / "nan_step_4.json").read_text())["index"] == {"1": [10, 11, 12]}
        assert [outcome["finite"] for outcome in two] == [None, None]
