"""``compile``: the same training, the same names."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import nn

import sslight
from sslight import config
from sslight.errors import RefusedRunError
from sslight.optim import Recipe
from sslight.run.compiling import Compiled, compile_method
from sslight.schedules import Clock, Constant, Cosine, Linear, Sequence
from sslight.train_steps import gradcache

needs_compiler = pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler")


class Flat(nn.Module):
    """A backbone of one matrix: seconds of compiling."""

    embed_dim = 4

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * 16 * 16, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images.flatten(1)).tanh()


def trained(name: str, what: Compiled | None, backbone: Any = None) -> dict[str, Any]:
    """Weights after two steps."""
    method = tiny.build(name, backbone)
    if what:
        compile_method(method, what)
    tiny.fit(method, name)
    return method.state_dict()


def assert_close(ours: dict[str, Any], plain: dict[str, Any]) -> None:
    assert ours.keys() == plain.keys()
    for name, value in plain.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-4, atol=1e-6, msg=name)


def graphs() -> int:
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


@pytest.fixture(autouse=True)
def _afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    monkeypatch.setenv("_TORCHINDUCTOR_PYOBJECT_TENSOR_DATA_PTR", "")  # torch leaves one behind


def compiled_parts(method: Any) -> list[str]:
    return [name for name, part in method.named_modules() if part._compiled_call_impl is not None]


@pytest.mark.parametrize(("name", "what"), [("byol", "loss"), ("mae", "backbone")])
def test_the_same_weights_under_the_same_names(
    monkeypatch: pytest.MonkeyPatch, name: str, what: Compiled
):
    """Traced as ever, but run by torch's own kernels: generating C++ takes minutes."""
    plain = trained(name, None)
    assert graphs() == 0
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    ours = trained(name, what)
    assert graphs() >= 1
    assert_close(ours, plain)


class Count(tiny.Watch):
    """Keeps how many graphs, and pieces of Python, have been compiled after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.compiled: list[tuple[int, int]] = []

    def on_train_batch_end(self, *args: Any) -> None:
        super().on_train_batch_end(*args)
        frames = int(torch._dynamo.utils.counters["frames"]["ok"])
        self.compiled.append((graphs(), frames))


#: What reads the clock only if it is asked to.
ON_REQUEST: dict[str, dict[str, Any]] = {
    "dinov2": {"gram_weight": 1.0, "gram_start": 1, "gram_every": 2},
    "msn": {"target_temperature": Sequence((Linear(0.25, 0.2), Cosine(0.2, 0.1)), (0.5, 0.5))},
    "supervised": {"mixup": 0.5, "cutmix": 0.5},
    "swav": {"queue_size": 24, "queue_start": 1},
}


def counted(name: str, what: Compiled | None) -> Count:
    """Train six epochs of two steps."""
    torch.manual_seed(0)
    options = {**tiny.sizes(name), **ON_REQUEST.get(name, {})}
    method = tiny.method_class(name)(tiny.rowwise(name)(), Recipe(lr=0.01), **options)
    if what:
        compile_method(method, what)
    watch = Count()
    tiny.fit(method, name, watch, max_epochs=6)
    return watch


@pytest.mark.parametrize("name", tiny.METHODS)
def test_a_compiled_loss_is_compiled_once_for_all_steps(monkeypatch: pytest.MonkeyPatch, name: str):
    """Not for each step, nor for each epoch; torch would give up without an error after a while."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    plain = counted(name, None)
    with torch._dynamo.config.patch(recompile_limit=64):
        ours = counted(name, "loss")
    assert plain.compiled == [(0, 0)] * 12
    assert ours.compiled[0] > (0, 0)
    assert ours.compiled[3:] == [ours.compiled[3]] * 9
    assert ours.losses == plain.losses


def test_the_clock_goes_uncompiled_and_nothing_of_torch_is_changed(
    monkeypatch: pytest.MonkeyPatch,
):
    """Values of schedules are Python's; what is set for compiling is set back."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    before = torch._dynamo.config.allow_unspec_int_on_nn_module
    seen: list[bool] = []

    class Spy(Constant):
        def _value(self, clock: Clock) -> float:
            seen.append(torch.compiler.is_compiling())
            return super()._value(clock)

    method = tiny.build("dino", tiny.Net)
    method.teacher_temperature = Spy(0.05)
    compile_method(method, "loss")
    tiny.fit(method, "dino")
    assert seen == [False, False]
    assert torch._dynamo.config.allow_unspec_int_on_nn_module == before


@needs_compiler
def test_generated_code_trains_alike():
    plain = trained("simclr", None, Flat)
    ours = trained("simclr", "backbone", Flat)
    assert graphs() >= 1
    assert_close(ours, plain)


def test_the_config_asks_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    node = config.load("quickstart")
    node["data"] |= {"train": {"name": "shapes", "num_images": 64, "size": 16}, "workers": 0}
    node |= {"backbone": tiny.RESNET, "callbacks": {}, "run_dir": str(tmp_path / "run")}
    node["trainer"] |= {"max_steps": 1}
    result = sslight.fit({**node, "compile": "backbone"})
    assert compiled_parts(result.method) == ["backbone"]


def test_transformers_are_compiled_block_by_block_and_their_teachers_too():
    method = tiny.build("dino", tiny.vit)
    compile_method(method, "backbone")
    parts = compiled_parts(method)
    depth = tiny.VIT["depth"]
    assert len(parts) == 2 * depth
    assert sum(name.startswith("backbone.") for name in parts) == depth
    assert all("blocks" in name for name in parts)


def test_other_networks_are_compiled_whole():
    method = tiny.build("simclr")
    compile_method(method, "backbone")
    assert compiled_parts(method) == ["backbone"]


def test_a_train_step_in_pieces_is_refused():
    method = tiny.build("simclr")
    method.train_step = gradcache
    with pytest.raises(RefusedRunError, match="standard train step"):
        compile_method(method, "loss")


def test_without_a_compiler_it_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(RefusedRunError, match=r"needs a C\+\+ compiler"):
        compile_method(tiny.build("simclr"), "backbone")
