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
from sslight.run.compiling import Compiled, compile_method
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
