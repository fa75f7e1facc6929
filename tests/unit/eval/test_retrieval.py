"""Ground truth from a file, copies with distractors, whitening; what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from unit.eval.test_knn_eval import clouds, write

from sslight.errors import RefusedRunError
from sslight.eval import Subject
from sslight.eval.retrieval import Retrieval

ON_A_LINE = np.array([[1, 0], [1, 0.1], [1, 0.2], [1, 0.3], [1, 0.4]], np.float32)


def landmarks(folder, truth, *, bad=()):
    subject = Subject(write(folder / "f", {"test": (ON_A_LINE[:1], None),
                                           "train": (ON_A_LINE, None)}, bad=bad))  # fmt: skip
    (folder / "gnd.json").write_text(json.dumps(truth))
    return subject, str(folder / "gnd.json")


def truth(**answers):
    answer = {"easy": [], "hard": [], "junk": [], **answers}
    return {"imlist": ["0.jpg", "1", "2", "3", "4"], "qimlist": ["0"], "gnd": [answer]}


def test_easy_medium_and_hard(tmp_path):
    """The database stands in the order 0 1 2 3 4: easy is 1, hard 3, junk 0."""
    subject, path = landmarks(tmp_path, truth(easy=[1], hard=[3], junk=[0]))
    metrics = Retrieval(truth=path).evaluate(subject).metrics
    assert metrics["easy/map"] == 1.0  # 0 is junk
    assert metrics["hard/map"] == pytest.approx((0 + 1 / 2) / 2)  # 2 before it, 1 is junk
    assert metrics["medium/map"] == pytest.approx((1 + (1 / 2 + 2 / 3) / 2) / 2)
    assert metrics["hard/mp10"] == pytest.approx(1 / 2)


def test_an_unreadable_image_takes_no_part(tmp_path):
    subject, path = landmarks(tmp_path, truth(easy=[1, 3], junk=[0]), bad=[3])
    assert Retrieval(truth=path).evaluate(subject).metrics["easy/map"] == 1.0


def test_a_query_without_answers_is_left_out(tmp_path):
    subject, path = landmarks(tmp_path, truth(easy=[1]))
    rows = {row["setting"]: row for row in Retrieval(truth=path).evaluate(subject).rows}
    assert rows["hard"]["queries"] == 0
    assert rows["easy"]["queries"] == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "imlist"),
        (truth(easy=[9]), "numbers from 0 to 4"),
        ({**truth(), "gnd": []}, "one entry per query"),
        ({**truth(), "qimlist": ["x"]}, "does not hold .*such as x"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, content, message):
    subject, path = landmarks(tmp_path, content)
    with pytest.raises(RefusedRunError, match=message):
        Retrieval(truth=path).evaluate(subject)


def test_no_image_finds_itself(tmp_path):
    x, y = clouds(30, 0)
    x = np.concatenate([x, x])  # each has a twin of the same label
    subject = Subject(write(tmp_path, {"train": (x, np.concatenate([y, y]))}))
    result = Retrieval(queries="train", database="train", at=[1]).evaluate(subject)
    assert result.metrics["mp1"] == 1.0
    assert result.n == 60
    alone = write(tmp_path / "alone", {"train": (x[:30], np.arange(30))})
    result = Retrieval(queries="train", database="train").evaluate(Subject(alone))
    assert result.rows[0]["queries"] == 0


def test_distractors_count_for_copies_and_not_for_classes(tmp_path):
    train = ON_A_LINE, np.array([-1, 1, -1, 2, 1])
    store = write(tmp_path, {"train": train, "test": (ON_A_LINE[:1], np.array([1]))})
    same = Retrieval(at=[1]).evaluate(Subject(store)).metrics
    assert (same["map"], same["mp1"]) == (pytest.approx((1 + 2 / 3) / 2), 1.0)
    copies = Retrieval(truth="copies", at=[1]).evaluate(Subject(store)).metrics
    assert (copies["map"], copies["mp1"]) == (pytest.approx((1 / 2 + 2 / 5) / 2), 0.0)
    assert copies["micro_ap"] == pytest.approx(copies["map"])  # one query


def test_whitening_of_another_set_helps_where_one_direction_drowns_the_others(tmp_path):
    (x, y), (u, v) = clouds(200, 0), clouds(60, 1)
    loud = np.random.default_rng(5).normal(size=(3, 400, 1)).astype(np.float32) * 30
    sets = {
        "train": (np.concatenate([x, loud[0, :200]], 1), y),
        "test": (np.concatenate([u, loud[1, :60]], 1), v),
        "other": (np.concatenate([clouds(400, 2)[0], loud[2]], 1), None),
    }
    subject = Subject(write(tmp_path, sets))
    plain = Retrieval().evaluate(subject).metrics["map"]
    white = Retrieval(whitening="other").evaluate(subject).metrics["map"]
    assert white > plain + 0.01
    elsewhere = Retrieval(whitening="other", whitening_store=tmp_path).evaluate(subject)
    assert elsewhere.metrics["map"] == white


def test_maps_are_pooled(tmp_path):
    splits = {n: clouds(40, i, (3, 4, 6)) for i, n in enumerate(("train", "test"))}
    subject = Subject(write(tmp_path, splits))
    found = {p: Retrieval(pooling=p).evaluate(subject).metrics["map"]
             for p in ("none", "avg", "max", "gem", "rmac")}  # fmt: skip
    assert len(set(found.values())) == 5
    vectors = Subject(write(tmp_path / "v", {n: clouds(9, 0) for n in ("train", "test")}))
    with pytest.raises(RefusedRunError, match=r"needs stored maps.*'N', 8"):
        Retrieval(pooling="gem").evaluate(vectors)


@pytest.mark.parametrize("options", [{"truth": "clases"}, {"at": [0]}, {"power": 0.0}])
def test_mistakes_are_refused(options):
    with pytest.raises(ValueError, match="retrieval"):
        Retrieval(**options)
