from __future__ import annotations

import numpy as np

from sslight.data.datamodule import SSLDataModule
from sslight.data.limit import Subset
from sslight.doctor.images import label_facts, look, spread


def test_a_split_is_described(folder, picture):
    grey = picture(3)[:1].expand(3, -1, -1).contiguous()
    images = {"cat/a.png": picture(1), "cat/b.png": picture(2, 30, 40), "dog/c.png": grey}
    seen = look(folder("train", {**images, "dog/bad.png": b"no image"}), most=10)
    assert (seen.total, seen.opened, seen.good, seen.grey) == (4, 4, 3, 1)
    assert len(seen.bad) == 1
    assert seen.bad[0].startswith("dog/bad.png: not an image")
    assert sorted(map(tuple, seen.sizes.tolist())) == [(20, 24), (20, 24), (30, 40)]
    assert seen.short_sides.tolist() == [20, 20, 30]
    assert seen.channels == {3: 3}
    assert seen.labels.counts == {"cat": 2, "dog": 2}


def test_a_sample_is_even_and_the_same_every_time():
    assert spread(5, 10).tolist() == [0, 1, 2, 3, 4]
    rows = spread(1000, 11)
    assert rows.tolist() == [0, 100, 200, 300, 400, 500, 599, 699, 799, 899, 999]
    assert spread(1, 3).tolist() == [0]


def test_labels_of_a_part_name_the_classes_it_lacks(folder, picture):
    images = {f"{kind}/{i}.png": picture(i) for i, kind in enumerate(("ant", "bee", "bee"))}
    part = Subset(folder("train", images), np.array([1, 2]))
    facts = label_facts(part)
    assert facts.counts == {"ant": 0, "bee": 2}
    assert facts.empty == ["ant"]


def test_labels_with_gaps_and_of_several_columns():
    class Labelled:
        classes = None

        def __init__(self, labels):
            self.labels = np.array(labels)

    facts = label_facts(Labelled([0, 2, -1, 2]))
    assert (facts.counts, facts.unlabelled) == ({"0": 1, "1": 0, "2": 2}, 1)
    facts = label_facts(Labelled([[1, 0], [1, 1], [-1, -1]]))
    assert (facts.counts, facts.unlabelled) == ({"0": 2, "1": 1}, 1)
    assert label_facts(SSLDataModule([0, 1]).source("train")) is None
