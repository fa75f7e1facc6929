import math

import numpy as np
import pytest
import torch

from sslight.eval import votes

KS, TS = [1, 5, 20], [0.07, 1.0]


@pytest.fixture
def data():
    g = torch.Generator().manual_seed(0)
    centres = torch.randn(7, 12, generator=g)
    bank_labels = torch.randint(-1, 7, (150,), generator=g)
    query_labels = torch.randint(-1, 7, (40,), generator=g)
    bank = centres[bank_labels] + 1.5 * torch.randn(150, 12, generator=g)
    queries = centres[query_labels] + 1.5 * torch.randn(40, 12, generator=g)
    return bank, bank_labels, queries, query_labels


def brute_force(bank, bank_labels, queries, query_labels, k, t):
    """The protocol as plain loops in float64."""
    unit = [b / b.norm() for b in bank.double()]
    top1 = top5 = total = 0
    for q, label in zip(queries.double(), query_labels.tolist(), strict=True):
        if label < 0:
            continue
        q = q / q.norm()
        scored = [(-float(q @ b), i) for i, b in enumerate(unit) if bank_labels[i] >= 0]
        ballot = {}
        for s, i in sorted(scored)[:k]:
            c = int(bank_labels[i])
            ballot[c] = ballot.get(c, 0.0) + math.exp(-s / t)
        ranked = sorted(ballot, key=lambda c: (-ballot[c], c))
        top1 += ranked[0] == label
        top5 += label in ranked[:5]
        total += 1
    return top1 / total, top5 / total


def test_equals_plain_loops_for_every_k_and_temperature(data):
    accuracy = votes.count_right(*data, k=KS, temperature=TS).accuracy()
    assert list(accuracy) == [(k, t) for k in KS for t in TS]
    for (k, t), value in accuracy.items():
        assert value == pytest.approx(brute_force(*data, k, t)), (k, t)


def test_equals_scikit_learn(data, monkeypatch):
    for name, value in (("KMP_DUPLICATE_LIB_OK", "True"), ("KMP_INIT_AT_FORK", "FALSE")):
        monkeypatch.setenv(name, value)  # its import sets them
    sklearn = pytest.importorskip("sklearn.neighbors")
    bank, bank_labels, queries, _ = data
    known = bank_labels >= 0
    peer = sklearn.KNeighborsClassifier(
        9, metric="cosine", algorithm="brute", weights=lambda d: np.exp((1 - d) / 0.1)
    ).fit(bank[known].numpy(), bank_labels[known].numpy())
    similarity, rows = votes.nearest(queries, bank[known], 9)
    ours = votes.vote(similarity, bank_labels[known][rows], 0.1)[:, 0]
    assert ours.tolist() == peer.predict(queries.numpy()).tolist()


def test_equal_votes_go_to_the_lower_class():
    guess = votes.vote(torch.full((1, 4), 0.5), torch.tensor([[3, 1, 2, 1]]), 0.1)
    assert guess.tolist() == [[1, 2, 3, -1, -1]]


def test_votes_are_summed_per_class():
    similarity = torch.tensor([[0.9, 0.8, 0.8]])
    labels = torch.tensor([[4, 2, 2]])
    assert votes.vote(similarity, labels, 1.0)[0, 0] == 2
    assert votes.vote(similarity, labels, 0.01)[0, 0] == 4


def test_tiny_temperatures_neither_overflow_nor_lose_a_class():
    guess = votes.vote(torch.tensor([[1.0, 0.5, -1.0]]), torch.tensor([[2, 1, 0]]), 1e-4)
    assert guess[0, 0] == 2
    assert sorted(guess[0].tolist()) == [-1, -1, 0, 1, 2]


def test_top5_counts_only_classes_that_received_a_vote(data):
    tally = votes.count_right(*data, k=[1], temperature=[0.07])
    assert tally.correct[0, 0] == tally.correct[0, 1]


def test_unlabelled_and_unreadable_rows_neither_vote_nor_count(data):
    bank, bank_labels, queries, query_labels = (x.clone() for x in data)
    before = votes.count_right(bank, bank_labels, queries, query_labels)
    assert before.total == int((query_labels >= 0).sum())
    nan = torch.full((3, 12), float("nan"))
    after = votes.count_right(
        torch.cat([nan, bank]),
        torch.cat([torch.zeros(3, dtype=torch.int64), bank_labels]),
        torch.cat([queries, nan]),
        torch.cat([query_labels, torch.ones(3, dtype=torch.int64)]),
    )
    assert after.total == before.total
    assert torch.equal(after.correct, before.correct)


def test_shards_of_the_queries_add_up(data):
    bank, bank_labels, queries, query_labels = data
    whole = votes.count_right(*data, k=KS, temperature=TS)
    parts = [
        votes.count_right(
            bank, bank_labels, queries[r::3], query_labels[r::3], k=KS, temperature=TS
        )
        for r in range(3)
    ]
    assert torch.equal(sum(p.correct for p in parts), whole.correct)
    assert sum(p.total for p in parts) == whole.total


def test_no_queries_is_a_count_of_zero_and_no_accuracy(data):
    tally = votes.count_right(*data[:2], torch.empty(0, 12), torch.empty(0, dtype=torch.int64))
    assert tally.total == 0
    with pytest.raises(ValueError, match="No query has a label"):
        tally.accuracy()


def test_memory_mapped_float16_features_are_read_in_place(data, tmp_path):
    np.save(tmp_path / "bank.npy", data[0].half().numpy())
    bank = np.load(tmp_path / "bank.npy", mmap_mode="r")
    mapped = votes.count_right(bank, *data[1:], k=KS, temperature=TS)
    plain = votes.count_right(data[0].half(), *data[1:], k=KS, temperature=TS)
    assert torch.equal(mapped.correct, plain.correct)


def test_scale_of_features_does_not_matter(data):
    bank, bank_labels, queries, query_labels = data
    scaled = votes.count_right(bank * 64, bank_labels, queries / 8, query_labels, k=KS)
    assert torch.equal(scaled.correct, votes.count_right(*data, k=KS).correct)


def test_too_many_neighbours_is_a_sentence(data):
    known = int((data[1] >= 0).sum())
    with pytest.raises(ValueError, match=f"k=200 .* the {known} labelled train rows"):
        votes.count_right(*data, k=[200])


@pytest.mark.parametrize("bad", [{"k": []}, {"k": [0]}, {"temperature": [0.0]}])
def test_wrong_settings_are_named(data, bad):
    with pytest.raises(ValueError, match="at least one k >= 1"):
        votes.count_right(*data, **bad)


def test_multi_label_rows_are_refused(data):
    with pytest.raises(ValueError, match="one class per row"):
        votes.count_right(data[0], torch.zeros(150, 3), *data[2:])
