from __future__ import annotations

import pytest

from sslight import config
from sslight.config import ConfigError

GOOD = {
    "method": {"name": "toy", "temperature": 0.2},
    "backbone": {"name": "tiny"},
    "data": {"train": {"name": "toyfolder", "root": "/nowhere"}, "batch_size": 8},
    "optim": {"lr": {"name": "cosine", "start": 0.1, "end": 0.0}},
    "callbacks": {"toyknn": {"k": [1, 5]}},
}


def lines(changes=(), base=None, **kwargs) -> list[str]:
    composed = config.compose(GOOD if base is None else base, changes)
    composed.origins = {}
    return [str(problem) for problem in config.check(composed, **kwargs)]


def test_a_good_config_has_no_problems():
    assert lines() == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            "method.temprature=0.2",
            "method.temprature: unknown key. Did you mean 'temperature'? toy takes temperature, d",
        ),
        ("method.dim=many", "method.dim: got 'many'; expected an integer."),
        ("method.dim=true", "method.dim: got true; expected an integer."),
        ("method.dim=2.5", "method.dim: got 2.5; expected an integer."),
        (
            "method.temperature=hot",
            "method.temperature: got 'hot'; expected a number or a schedule {name: ..., ...}.",
        ),
        (
            "method.backbone=tiny",
            "method.backbone: is given by sslight, not by the config. Remove it.",
        ),
        ("data.train.root=null", "data.train.root: got null; expected a path."),
        ("data.batch_size=[8]", "data.batch_size: got the list [8]; expected an integer."),
        (
            "data.workers=atuo",
            "data.workers: got 'atuo'; expected an integer or 'auto'. Did you mean 'auto'?",
        ),
        (
            "data.train.labels=nne",
            "data.train.labels: got 'nne'; expected 'auto' or 'none'. Did you mean 'none'?",
        ),
        (
            "optim.lr.strat=1",
            "optim.lr.strat: unknown key. Did you mean 'start'? cosine takes start, end",
        ),
        ("optim.lr.start=x", "optim.lr.start: got 'x'; expected a number."),
        ("optim.weight_decay=-1", "optim.weight_decay: must not be negative, got -1.0."),
        ("optim.options={etas: 1}", "optim.options.etas: unknown key. SGD takes"),
        (
            "callbacks.toyknn.k=x",
            "callbacks.toyknn.k: got 'x'; expected an integer or a list of integers.",
        ),
        ("callbacks.toyknn=5", "callbacks.toyknn: got 5; expected a callback: {name: ..., ...}."),
        ("resume=no", "resume: got 'no'; expected 'auto', 'never' or 'must'."),
        ("seed=1.5", "seed: got 1.5; expected an integer."),
        (
            "traner.max_epochs=3",
            "traner: unknown key. Did you mean 'trainer'? a config takes seed,",
        ),
        (
            "extract.dtype=float",
            "extract.dtype: got 'float'; expected 'float16' or 'float32'. Did you mean 'float",
        ),
        ("extract.splits=train", "extract.splits: got 'train'; expected a list of texts or null."),
        ("eval.toyeval.k=[a]", "eval.toyeval.k.0: got 'a'; expected an integer."),
        ("backbone.stem=large", "backbone.stem: got 'large'; expected 'imagenet' or 'small'."),
        ("data.views=[{size: 0}]", "data.views.0.size: size must be at least 1, got 0."),
        ("data.views=[{}]", "data.views.0.size: missing; Crop needs it: an integer."),
        (
            "data.views=[{size: 8, scale: [1]}]",
            "data.views.0.scale: got the list [1]; expected a list of 2 numbers.",
        ),
        (
            "data.splits={val: {name: toyfoldr}}",
            "data.splits.val.name: unknown source 'toyfoldr'. Did you mean 'toyfolder'?",
        ),
        (
            "train_step.name=chunkd",
            "train_step.name: unknown train_step 'chunkd'. Did you mean 'chunked'?",
        ),
        ("train_step.name=chunked", "train_step.chunk: missing; chunked needs it: an integer."),
    ],
)
def test_one_mistake_is_one_sentence(change, expected):
    (line,) = lines([change])
    assert line.startswith(expected)


def test_unknown_names_suggest_and_list():
    (line,) = lines(["backbone.name=tny"])
    assert line.startswith("backbone.name: unknown backbone 'tny'. Did you mean 'tiny'? Known: ")


def test_mandatory_values():
    (line,) = lines(["data.train.root=???"])
    assert line.startswith("data.train.root: must be given (the config says ???); expected a path.")
    assert "data.train.root=VALUE" in line


def test_missing_name_and_missing_key():
    assert lines(["data.train={root: x}"], base={**GOOD, "data": {}})[0].startswith(
        "data.train.name: missing; it says which source to use. Known: "
    )
    (line,) = lines(["data.train={name: toyfolder}"])
    assert line == "data.train.root: missing; toyfolder needs it: a path."


def test_a_misspelt_key_is_one_mistake():
    (line,) = lines(["data.train={name: toyfolder, rooot: x}"])
    assert line.startswith("data.train.rooot: unknown key. Did you mean 'root'?")
    (line,) = lines(base={**{k: GOOD[k] for k in ("backbone", "data")}, "methd": GOOD["method"]})
    assert line.startswith("methd: unknown key. Did you mean 'method'?")


def test_what_a_command_needs():
    found = lines(base={}, command="fit")
    assert [line.split(":")[0] for line in found] == ["method", "backbone", "data"]
    assert "Known: " in found[0]
    assert lines(base={}, command="eval") == []
    assert lines(base={}, given=["method", "data"]) == []


def test_all_problems_come_at_once_in_the_order_of_the_file(write):
    path = write(
        "method: {name: toy, temprature: 1}\n"
        "backbone: {name: tny}\n"
        "data:\n  train: {name: toyfolder, rooot: x}\n  batch_size: many\n"
        "optim: {lr: fast}\n"
    )
    problems = config.check(config.load(path))
    keys = ["method.temprature", "backbone.name", "data.train.rooot"]
    assert [problem.key for problem in problems] == [*keys, "data.batch_size", "optim.lr"]
    assert [problem.origin.rpartition(":")[2] for problem in problems] == list("12456")
    assert all("\n" not in str(problem) for problem in problems)


def test_the_command_line_is_an_origin(write):
    composed = config.load(write("method: toy\nbackbone: tiny\ndata: {}\n"), ["seed=x"])
    assert str(config.check(composed)[0]).startswith("command line: seed: got 'x'")


def test_checked_reads_scalars_by_annotation(write):
    path = write(
        "run_dir: 007\nseed: 1_000\nmethod: {name: toy, temperature: 1e-1, dim: 010}\n"
        "backbone: tiny\noptim: {weight_decay: 1e-6, options: {dampening: 1e-2}}\n"
        "data: {train: {name: toyfolder, root: 12:30:45, num: ${seed}}, workers: 2}\n"
        "callbacks: {toyknn: null}\n".replace("${seed}", '"${seed}"')
    )
    tree = config.checked(config.load(path))
    assert tree["run_dir"] == "007"
    assert tree["seed"] == 1000
    assert tree["method"] == {"name": "toy", "temperature": 0.1, "dim": 10}
    assert tree["backbone"] == {"name": "tiny"}
    assert tree["optim"] == {"weight_decay": 1e-6, "options": {"dampening": 0.01}}
    assert tree["data"]["train"] == {"name": "toyfolder", "root": "12:30:45", "num": 1000}
    assert tree["callbacks"] == {"toyknn": None}


def test_checked_raises_everything():
    with pytest.raises(ConfigError) as error:
        config.checked(config.compose(GOOD, ["seed=x", "resume=y"]))
    assert len(error.value.problems) == 2


def test_broken_interpolations_are_problems_too():
    found = lines(["data.batch_size=${nope.x}", "seed=x"])
    assert len(found) == 2
    assert found[0].startswith("data.batch_size: cannot be filled in")


def test_objects_in_a_config_made_in_python(tmp_path):
    from sslight.schedules import Constant

    base = {**GOOD, "method": {"name": "toy", "temperature": Constant(0.5)}}
    assert lines(base=base) == []
    base = {**GOOD, "run_dir": tmp_path}
    assert lines(base=base) == []


def test_checking_touches_nothing(tmp_path):
    assert lines([f"data.train.root={tmp_path / 'absent'}", f"run_dir={tmp_path / 'run'}"]) == []
    assert list(tmp_path.iterdir()) == []
