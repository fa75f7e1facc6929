from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from sslight import config, registry
from sslight.config import ConfigError
from sslight.schedules import Constant, Cosine, Schedule


def test_nested_values_become_objects():
    method = config.build(
        "method",
        {"name": "toy", "temperature": {"name": "cosine", "start": 0.04, "end": "4e-1"}},
        backbone="b",
        optim="o",
    )
    assert method.temperature == Cosine(0.04, 0.4)
    assert (method.backbone, method.optim) == ("b", "o")


def test_sources_views_and_paths():
    data_class = config.sections.section_class("data")
    node = {
        "train": {"name": "toyfolder", "root": "~/x"},
        "splits": {"val": {"name": "toyfolder", "root": "007"}},
        "views": [{"size": 8, "scale": [0.5, 1]}],
    }
    data = config.make(data_class, node, key="data")
    assert data.train.root == Path("~/x").expanduser()
    assert data.splits["val"].root == Path("007")
    assert data.views[0].scale == (0.5, 1.0)
    assert data.batch_size == 256


def test_a_name_alone_is_enough():
    assert config.build("backbone", "tiny") == "imagenet-64"
    assert config.build("backbone", {"name": "tiny", "width": "1_6"}) == "imagenet-16"


def test_what_comes_later_makes_a_partial():
    step = config.build("train_step", {"name": "chunked", "chunk": 4})
    assert step("method", "batch") == ("method", "batch", 4)


def test_callbacks_by_label():
    nodes = {"toyknn": {"k": 3}, "other": {"name": "toyknn"}, "off": None}
    built = config.build_members("callback", nodes, key="callbacks")
    assert list(built) == ["toyknn", "other"]
    assert (built["toyknn"].k, built["other"].k) == (3, 20)


def test_a_constructor_s_refusal_is_a_problem_with_its_key():
    with pytest.raises(ConfigError) as error:
        config.build("method", {"name": "toy", "temperature": -1}, backbone=None, optim=None)
    assert str(error.value) == "method.temperature: temperature must be above 0, got -1.0."
    assert isinstance(error.value.__cause__, ValueError)


def test_other_errors_of_a_constructor_are_not_hidden(monkeypatch):
    def broken(*, size: int = 1) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setitem(registry._registered, ("backbone", "broken"), broken)
    with pytest.raises(RuntimeError, match="a bug"):
        config.build("backbone", "broken")


def test_a_method_must_take_what_sslight_gives(monkeypatch):
    class Stubborn:
        def __init__(self, backbone: object) -> None: ...

    monkeypatch.setitem(registry._registered, ("method", "stubborn"), Stubborn)
    with pytest.raises(ConfigError, match="must take optim, which sslight gives to every method"):
        config.build("method", "stubborn", backbone=None, optim=None)


@dataclass(frozen=True)
class Mixed:
    anything: object = None
    either: float | Schedule = 0.0
    text: str | Schedule = "cosine"
    words: tuple[str, ...] = ()
    pair: tuple[int, float] | None = None
    flags: dict[str, bool] | None = None
    where: str | Path | list[str | Path] = "."
    unchecked: dict | None = None


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ({"either": "1e-3"}, Mixed(either=1e-3)),
        ({"either": 2}, Mixed(either=2.0)),
        ({"either": {"name": "constant", "value": 1}}, Mixed(either=Constant(1.0))),
        (
            {
                "either": {
                    "name": "warmup",
                    "epochs": 2,
                    "schedule": {"name": "constant", "value": 1},
                }
            },
            None,
        ),
        ({"text": "linear"}, Mixed(text="linear")),
        ({"words": [1, "no", "x"]}, Mixed(words=("1", "no", "x"))),
        ({"pair": [1, 2]}, Mixed(pair=(1, 2.0))),
        ({"flags": {"a": "yes"}}, Mixed(flags={"a": True})),
        ({"where": ["a", "b"]}, Mixed(where=["a", "b"])),
        ({"where": 7}, Mixed(where="7")),
        ({"unchecked": {"x": ["1e-8", "no"]}}, Mixed(unchecked={"x": [1e-8, "no"]})),
        ({"anything": "1e2"}, Mixed(anything=100.0)),
    ],
)
def test_annotations_decide(node, expected):
    made = config.make(Mixed, node)
    if expected is not None:
        assert made == expected
        assert repr(made) == repr(expected)


def test_errors_without_a_section():
    with pytest.raises(ConfigError, match=r"^pair: got the list \[1\]; expected a list of 2: an "):
        config.make(Mixed, {"pair": [1]})
