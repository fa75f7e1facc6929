from __future__ import annotations

import pytest

from sslight.config.errors import ConfigError
from sslight.config.merge import flatten, merge, overrides_tree


def test_mappings_merge_and_the_rest_is_replaced():
    base = {"data": {"batch_size": 8, "views": [1, 2]}, "seed": 1}
    child = {"data": {"views": [3]}, "seed": None}
    assert merge(base, child) == {"data": {"batch_size": 8, "views": [3]}, "seed": None}
    assert base["data"]["views"] == [1, 2]


def test_a_new_name_drops_inherited_siblings():
    base = {"method": {"name": "simclr", "temperature": 0.1}}
    assert merge(base, {"method": {"name": "byol"}}) == {"method": {"name": "byol"}}


def test_without_a_name_siblings_stay():
    base = {"method": {"name": "simclr", "temperature": 0.1}}
    child = {"method": {"temperature": 0.2}}
    assert merge(base, child) == {"method": {"name": "simclr", "temperature": 0.2}}


def test_a_new_optimizer_drops_the_old_one_s_numbers():
    base = {"optim": {"optimizer": "lars", "lr": 4.8, "weight_decay": 1e-6}}
    child = {"optim": {"optimizer": "adamw"}}
    assert merge(base, child) == {"optim": {"optimizer": "adamw"}}


def test_overrides_work_in_any_order():
    base = {"optim": {"optimizer": "lars", "lr": 4.8, "warmup_epochs": 10}}
    for words in (["optim.lr=0.1", "optim.optimizer=adamw"],) * 2:
        tree, _ = overrides_tree(words)
        assert merge(base, tree) == {"optim": {"lr": 0.1, "optimizer": "adamw"}}
        words.reverse()


def test_null_switches_off_and_a_key_switches_on_again():
    tree, keys = overrides_tree(["callbacks.knn=null"])
    assert merge({"callbacks": {"knn": {"k": 20}}}, tree) == {"callbacks": {"knn": None}}
    assert keys == ["callbacks.knn"]
    tree, _ = overrides_tree(["callbacks.knn.k=5"])
    assert merge({"callbacks": {"knn": None}}, tree) == {"callbacks": {"knn": {"k": 5}}}


def test_list_entries_by_position():
    base = {"data": {"views": [{"size": 224}, {"size": 96}]}}
    tree, _ = overrides_tree(["data.views.1.size=64"])
    assert merge(base, tree) == {"data": {"views": [{"size": 224}, {"size": 64}]}}
    tree, _ = overrides_tree(["data.views.2.size=64"])
    with pytest.raises(ConfigError, match=r"data.views.2: there is no entry 2: the list has 2"):
        merge(base, tree)


def test_an_override_may_change_what_an_earlier_one_set():
    tree, _ = overrides_tree(["data.views=[{size: 96}, {size: 32}]", "data.views.1.size=48"])
    assert tree == {"data": {"views": [{"size": 96}, {"size": 48}]}}
    tree, _ = overrides_tree(["callbacks.knn=null", "callbacks.knn.k=5"])
    assert tree == {"callbacks": {"knn": {"k": 5}}}


def test_a_bare_name_is_shorthand():
    tree, _ = overrides_tree(["backbone=resnet50", "backbone.stem=small"])
    assert tree == {"backbone": {"name": "resnet50", "stem": "small"}}
    tree, _ = overrides_tree(["backbone=resnet50"])
    base = {"backbone": {"name": "resnet18", "stem": "small"}}
    assert merge(base, tree) == {"backbone": {"name": "resnet50"}}


def test_malformed_overrides_are_all_reported():
    with pytest.raises(ConfigError) as error:
        overrides_tree(["callbacks.knn", ".lr=1", "data.x=[1"])
    lines = str(error.value).splitlines()
    assert len(lines) == 3
    assert "write key=value" in lines[0].lower()
    assert lines[2].startswith("command line: data.x: got '[1'")


def test_flatten():
    tree = {"a": {"b": 1, "c": {}}, "d": [{"e": 2}, 3]}
    assert flatten(tree) == {"a.b": 1, "a.c": {}, "d.0.e": 2, "d.1": 3}
