"""The feature store: written by one or many, killed, continued, read."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from unit.features.fake_data import FakeData, network

from sslight.features import load_features
from sslight.features.compute import dataset_features, eval_mode, iterate
from sslight.features.extract import ExtractOptions, extract_features
from sslight.features.files import RowWriter
from sslight.features.writer import merge_shards

SCRIPT = Path(__file__).with_name("fake_data.py")
LAYERS = ["res3", "embedding"]
N, BAD = 83, [5, 77]


@pytest.fixture
def net():
    return network()


def extract(net, data, out, **options):
    more = {k: options.pop(k) for k in ("rank", "world_size", "meta", "progress") if k in options}
    return extract_features(net, data, ExtractOptions(**options), out, **more)


def start(out, rank=0, world_size=1, delay=0.0, shared="shared"):
    repository = SCRIPT.parents[3]
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *map(str, (out, rank, world_size, delay, shared))],
        stdout=subprocess.PIPE, text=True, cwd=repository,
        env={**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """What one uninterrupted process writes for the script's data."""
    out = tmp_path_factory.mktemp("straight")
    data = FakeData({"train": N}, bad=BAD)
    return extract(network(), data, out, layers=LAYERS)


def assert_same(store, other, *, exact):
    for name, split in store.items():
        for layer, array in split.arrays.items():
            tolerance = 0 if exact else 1e-5
            np.testing.assert_allclose(
                array, other[name].array(layer), rtol=tolerance, atol=tolerance
            )
        assert split.ids[:] == other[name].ids[:]
        np.testing.assert_array_equal(split.labels, other[name].labels)
        np.testing.assert_array_equal(split.ok, other[name].ok)


# --- one process -----------------------------------------------------------------------------


def test_rows_labels_and_ids_are_in_dataset_order(net, tmp_path):
    data = FakeData({"train": 21, "test": 5})
    net.train()
    store = extract(net, data, tmp_path, layers={"res3": "none", "embedding": "none"})
    assert net.training
    assert list(store) == ["train", "test"]
    images = torch.stack([data.image(i) for i in range(21)])
    with torch.no_grad():
        expected = net.eval()(images)
    train = load_features(tmp_path)["train"]
    np.testing.assert_allclose(train["embedding"], expected.numpy(), rtol=1e-4, atol=1e-5)
    assert train.array("res3").shape == (21, 16, 8, 8)
    assert isinstance(train.array(), np.memmap)
    assert train.layers == ["res3", "embedding"]
    assert train.labels.tolist() == [i % 3 for i in range(21)]
    assert train.ids[20] == "train/größe 20\n.png"
    assert train.ids[-1:] == train.ids[np.array([20])] == ["train/größe 20\n.png"]
    assert len(train.ids) == len(train) == 21
    assert train.classes == ["a", "b", "c"]
    assert train.ok.all()


def test_the_manifest_tells_what_made_it(net, tmp_path):
    extract(net, FakeData({"test": 3}), tmp_path, dtype="float16", meta={"run": "x"})
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["version"] == 1
    assert manifest["backbone"] == {"name": "resnet10", "width": 8, "stem": "small"}
    assert len(manifest["weights"]["sha256"]) == 64
    assert manifest["layers"]["embedding"]["shape"] == [64]
    assert manifest["layers"]["embedding"]["dtype"] == "<f2"
    assert manifest["view"]["size"] == 16
    assert manifest["splits"]["test"]["count"] == 3
    assert manifest["meta"] == {"run": "x"}
    assert load_features(tmp_path)["test"].array().dtype == np.float16


def test_unlabelled_data_and_unreadable_images(net, tmp_path):
    data = FakeData({"train": 11}, bad=[3, 10], labelled=False)
    split = extract(net, data, tmp_path)["train"]
    assert split.labels is None
    assert np.flatnonzero(~split.ok).tolist() == [3, 10]
    assert np.isnan(split.array()[[3, 10]]).all()
    assert np.isfinite(split.array()[split.ok]).all()


def test_nothing_is_computed_twice_and_splits_can_be_added(net, tmp_path):
    data = FakeData({"train": 20, "test": 9})
    extract(net, data, tmp_path, splits=["train"])
    assert sorted(data.seen) == list(range(20))
    data.seen = []
    extract(net, data, tmp_path)
    assert sorted(data.seen) == list(range(9))
    data.seen = []
    extract(net, data, tmp_path)
    assert data.seen == []
    assert list(load_features(tmp_path)) == ["train", "test"]


def test_a_store_of_an_older_version_goes_on(net, tmp_path):
    """Its view has not all of today's fields; those it lacks were at their defaults."""
    extract(net, FakeData({"train": 9}), tmp_path)
    path = tmp_path / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["view"]["photometric"], manifest["view"]["anchor"]
    path.write_text(json.dumps(manifest))
    data = FakeData({"train": 9, "test": 4})
    extract(net, data, tmp_path)
    assert sorted(data.seen) == list(range(4))
    del manifest["view"]["std"]
    manifest["view"]["flip"] = 0.5
    path.write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=r"view: there {'flip': 0.5}, now {'flip': 0.0}"):
        extract(net, data, tmp_path)


def drafted(data):
    data.decode = "draft"
    return data


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda: (network(1), FakeData({"train": 9}), {}), "weights: there main"),
        (lambda: (network(), FakeData({"train": 9}), {"layers": ["res3"]}), "layers: there"),
        (lambda: (network(), FakeData({"train": 9}), {"dtype": "float16"}), "layers: there"),
        (
            lambda: (network(), FakeData({"train": 9}, side=24), {}),
            "view: there {'size': 16}, now {'size': 24}",
        ),
        (
            lambda: (network(), drafted(FakeData({"train": 9})), {}),
            "decode: there exact, now draft",
        ),
        (lambda: (network(), FakeData({"train": 10}), {}), "split 'train': there 9 images"),
        (lambda: (network(), FakeData({"train": 9}, seed=1), {}), "split 'train': there 9 images"),
    ],
)
def test_a_store_of_something_else_is_refused_and_stays(net, tmp_path, change, text):
    extract(net, FakeData({"train": 9}), tmp_path)
    before = np.array(load_features(tmp_path)["train"].array())
    other, data, options = change()
    with pytest.raises(ValueError, match=f"(?s)something else.*{text}.*another folder"):
        extract(other, data, tmp_path, **options)
    np.testing.assert_array_equal(load_features(tmp_path)["train"].array(), before)


def test_float16_that_overflows_says_so(net, tmp_path):
    with torch.no_grad():
        net.bn1.weight *= 1e9
        net.layer4[0].bn2.weight *= 1e6
    with pytest.raises(ValueError, match=r"extract\.dtype=float32"):
        extract(net, FakeData({"train": 3}), tmp_path, dtype="float16")


def test_an_unfinished_split_is_not_read_by_mistake(net, tmp_path):
    class StopError(Exception):
        pass

    def stop(split, done, of):
        if done >= 16:
            raise StopError

    data = FakeData({"train": 40})
    with pytest.raises(StopError):
        extract(net, data, tmp_path, progress=stop)
    with pytest.raises(ValueError, match="24 of 40 rows are not extracted yet"):
        load_features(tmp_path)["train"]
    assert load_features(tmp_path, partial=True)["train"].done.sum() == 16
    data.seen = []
    extract(net, data, tmp_path)
    assert data.seen == list(range(16, 40))


def test_missing_things_are_named(net, tmp_path):
    with pytest.raises(FileNotFoundError, match="sslight extract"):
        load_features(tmp_path)
    extract(net, FakeData({"train": 3}), tmp_path / "features")
    store = load_features(tmp_path)  # the run folder works too
    with pytest.raises(KeyError, match="Did you mean 'train'"):
        store["trian"]
    with pytest.raises(KeyError, match="embedding"):
        store["train"].array("res5")
    with pytest.raises(ValueError, match="has no images"):
        extract(net, FakeData({"none": 0}), tmp_path / "x")


def test_reading_imports_numpy_only(straight):
    code = (
        "import sys; from sslight.features import load_features; "
        f"s = load_features({str(straight.root)!r})['train']; s.array().sum(); s.ids[0]; s.labels; "
        "print(sorted({'torch', 'pandas', 'pyarrow', 'torchvision'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


# --- killed, and many processes --------------------------------------------------------------


def test_killed_and_continued_is_the_straight_store(straight, tmp_path):
    process = start(tmp_path, delay=0.1)
    for _ in range(4):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not load_features(tmp_path, partial=True).complete("train")
    data = FakeData({"train": N}, bad=BAD)
    store = extract(network(), data, tmp_path, layers=LAYERS)
    assert len(data.seen) < N
    assert_same(store, straight, exact=True)


def test_marks_that_stop_inside_a_batch_do_not_change_a_bit(straight, tmp_path, net):
    data = FakeData({"train": N}, bad=BAD)
    extract(net, data, tmp_path, layers=LAYERS)
    with open(tmp_path / "train" / "done", "r+b") as file:  # as a kill between two writes leaves it
        file.seek(3)
        file.write(bytes(10))
    path = tmp_path / "train" / "embedding.npy"
    array = np.lib.format.open_memmap(path, mode="r+")
    array[:14] = -1  # rows 0-2 and 13 are done: they must not be written again
    array.flush()
    data.seen = []
    store = extract(net, data, tmp_path, layers=LAYERS)
    assert data.seen == list(range(16))
    written = (np.array(store["train"]["embedding"]) != -1).any(axis=1)
    assert np.flatnonzero(~written).tolist() == [0, 1, 2, 13]
    expected = straight["train"]["embedding"]
    np.testing.assert_array_equal(store["train"]["embedding"][written], expected[written])


def test_a_kill_before_the_manifest_is_no_obstacle(straight, tmp_path, net):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "done").write_bytes(bytes(3))
    (tmp_path / "train.tmp").mkdir()
    data = FakeData({"train": N}, bad=BAD)
    assert_same(extract(net, data, tmp_path, layers=LAYERS), straight, exact=True)


def test_two_processes_write_one_store_one_is_killed_and_run_again(straight, tmp_path):
    processes = [start(tmp_path, rank, 2, delay=0.1) for rank in (0, 1)]
    processes[1].stdout.readline()
    processes[1].send_signal(signal.SIGKILL)
    for process in processes:
        process.communicate(timeout=120)
    store = load_features(tmp_path, partial=True)
    assert store["train"].done[0::2].all()
    assert not store["train"].done[1::2].all()
    data = FakeData({"train": N}, bad=BAD)
    extract(network(), data, tmp_path, layers=LAYERS, rank=1, world_size=2)
    assert set(data.seen) <= set(range(1, N, 2))
    assert load_features(tmp_path)["train"].complete
    assert_same(store, straight, exact=False)


def test_shards_are_merged(straight, tmp_path, net):
    for rank in range(3):
        data = FakeData({"train": N}, bad=BAD)
        assert (
            extract(net, data, tmp_path, layers=LAYERS, shared=False, rank=rank, world_size=3)
            is None
        )
        assert sorted(data.seen) == list(range(rank, N, 3))
        if rank < 2:
            with pytest.raises(ValueError, match="shards of ranks"):
                merge_shards(tmp_path)
    merge_shards(tmp_path)
    assert_same(load_features(tmp_path), straight, exact=False)


@pytest.mark.parametrize("shared", [True, False])
def test_more_ranks_than_images(net, tmp_path, shared):
    data = FakeData({"train": 2})
    for rank in range(3):
        extract(net, data, tmp_path, rank=rank, world_size=3, shared=shared)
    if not shared:
        merge_shards(tmp_path)
    assert load_features(tmp_path)["train"].complete


def test_a_rank_waits_for_rank_0(net, tmp_path):
    data = FakeData({"train": 10})
    late = threading.Timer(
        0.5, extract, (net, FakeData({"train": 10}), tmp_path), {"rank": 0, "world_size": 2}
    )
    late.start()
    extract(net, data, tmp_path, rank=1, world_size=2)
    late.join()
    assert load_features(tmp_path)["train"].complete


def test_rows_are_marked_after_their_block_was_flushed(net, tmp_path, monkeypatch):
    events = []
    put, fsync = RowWriter._put, os.fsync

    def spy(self, file, *args):
        events.append(Path(file.name).name)
        put(self, file, *args)

    def spy_sync(handle):
        events.append("sync")
        fsync(handle)

    monkeypatch.setattr(RowWriter, "_put", spy)
    monkeypatch.setattr(os, "fsync", spy_sync)
    extract(net, FakeData({"train": 16}), tmp_path, flush_rows=8)
    first = events[events.index("embedding.npy") :][:5]
    assert first == ["embedding.npy", "ok", "sync", "sync", "done"]


def test_memory_does_not_grow_with_the_number_of_rows(tmp_path):
    code = """
import resource, sys, numpy as np, torch
from sslight.features.manifest import Manifest, SplitEntry, LayerEntry
from sslight.features.writer import StoreWriter
from pathlib import Path
n = int(sys.argv[2]); entry = SplitEntry(n, "f"); layer = {"x": LayerEntry((256,), "<f4")}
class Ids:
    def __getitem__(self, i): return str(i)
w = StoreWriter(Path(sys.argv[1]), Manifest("b", {}, None, layer))
with w.open("train", entry, layer, labels=None, ids=Ids()) as out:
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for s in range(0, n, 500):
        out.write(np.arange(s, s + 500), {"x": np.ones((500, 256), np.float32)}, np.ones(500, bool))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base)
"""
    out = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), "40000"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert (tmp_path / "train" / "x.npy").stat().st_size > 40_000_000
    assert int(out.stdout) < 20_000  # kB
    assert resource.RUSAGE_SELF == 0


# --- iterate and dataset_features ------------------------------------------------------------


def test_iterate_restores_every_modules_own_mode(net):
    net.train()
    net.layer2.eval()
    modes = [m.training for m in net.modules()]
    statistics = {k: v.clone() for k, v in net.state_dict().items()}
    blocks = iterate(net, FakeData({"train": 20}), "train", layers=["res3"])
    block = next(blocks)
    assert [m.training for m in net.modules()] == modes
    assert block.features["res3"].shape == (8, 16)
    assert block.index.tolist() == list(range(8))
    blocks.close()
    assert all(torch.equal(v, statistics[k]) for k, v in net.state_dict().items())
    with pytest.raises(ZeroDivisionError), eval_mode(net):
        raise ZeroDivisionError
    assert [m.training for m in net.modules()] == modes


def test_dataset_features_in_one_process(net):
    data = FakeData({"train": 21}, bad=[4])
    features = dataset_features(net, data, "train")
    expected = net.eval()(torch.stack([data.image(i) for i in range(21)])).detach()
    rows = torch.arange(21) != 4
    torch.testing.assert_close(features[rows], expected[rows], rtol=1e-4, atol=1e-5)
    assert features[4].isnan().all()
    assert not features.is_inference()
    some = dataset_features(net, data, "train", rows=np.array([20, 3, 7]))
    torch.testing.assert_close(some, expected[[20, 3, 7]], rtol=1e-4, atol=1e-5)


def test_dataset_features_are_float32_where_tensors_are_made_with_16_bits(net):
    """Lightning's ``bf16-true`` makes bfloat16 the default during a training step."""
    torch.set_default_dtype(torch.bfloat16)
    try:
        features = dataset_features(net.bfloat16(), FakeData({"train": 21}), "train")
    finally:
        torch.set_default_dtype(torch.float32)
    assert features.dtype == torch.float32


def _ranked(rank, world_size, file, out):
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{file}", rank=rank, world_size=world_size)
    features = dataset_features(network(), FakeData({"train": 23}), "train")
    torch.save(features, f"{out}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.ranks
def test_dataset_features_of_two_ranks_are_in_order_on_each(net, tmp_path):
    torch.multiprocessing.spawn(_ranked, (2, tmp_path / "rendezvous", tmp_path), nprocs=2)
    expected = dataset_features(net, FakeData({"train": 23}), "train")
    for rank in range(2):
        got = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


# --- other forms -----------------------------------------------------------------------------


def test_torch_form(straight):
    features, labels = straight["train"].torch("res3")
    assert features.shape == (N, 16)
    assert labels.tolist() == straight["train"].labels.tolist()


def test_pandas_and_parquet_where_installed(straight, tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    split = straight["train"]
    frame = split.pandas("res3")
    assert frame.columns[:4].tolist() == ["id", "label", "class", "ok"]
    np.testing.assert_array_equal(frame["f3"], split.array("res3")[:, 3])
    table = pandas.read_parquet(split.parquet(tmp_path / "x.parquet"))
    np.testing.assert_array_equal(np.stack(table["embedding"]), split.array("embedding"))
    assert table["id"].tolist() == split.ids[:]


@pytest.mark.parametrize(
    ("package", "call"),
    [("pandas", lambda s, p: s.pandas()), ("pyarrow", lambda s, p: s.parquet(p / "x"))],
)
def test_missing_packages_are_named(straight, tmp_path, monkeypatch, package, call):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"needs {package}.*sslight\[tables\]"):
        call(straight["train"], tmp_path)
