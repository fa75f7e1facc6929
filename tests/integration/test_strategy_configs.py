"""Every shipped config that names a strategy, at tiny size: two gloo ranks are one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from ranks import run_ranks
from torch.distributed.fsdp import FSDPModule

import sslight
from sslight import config
from sslight.distributed import world_size
from sslight.modules.checkpointing import repeated_blocks

pytestmark = pytest.mark.ranks
STEPS = 2
CONFIGS = Path(__file__).parents[2] / "configs"
NAMING = [
    path
    for path in sorted(CONFIGS.rglob("*.yaml"))
    if "strategy" in (config.load(path).get("trainer") or {})
]


def tiny_node(path: Path) -> dict[str, Any]:
    """The config's method, kind of network, optimizer and strategy; sizes small, schedules short.

    A ResNet stands for RegNets: in float32 the rounding of 50 batch norms over single pixels grows
    to the size of a step, so that nothing could be compared.
    """
    whole = config.load(path)
    method, optim, trainer = whole["method"], whole["optim"], whole["trainer"]
    plain = {key: value for key, value in method.items() if not isinstance(value, dict)}
    preset = whole["data"]["views"]["name"]
    vit = whole["backbone"]["name"].startswith("vit")
    return {
        "method": {**plain, **tiny.sizes(method["name"])},
        "backbone": tiny.VIT if vit else tiny.RESNET,
        "data": {
            "train": {"name": "shapes", "num_images": 16, "size": 16},
            "views": {"name": preset, **tiny.view_sizes(preset)},
            "batch_size": 8,
            "workers": 0,
        },
        "optim": {
            "lr": 1e-3 if vit else 0.1,
            **{key: optim[key] for key in ("optimizer", "options") if key in optim},
        },
        "trainer": {
            "max_steps": STEPS,
            "accelerator": "cpu",
            "log_every_n_steps": 1,
            **{key: trainer[key] for key in ("strategy", "sync_batchnorm", "gradient_clip_val")
               if key in trainer},
        },
    }  # fmt: skip


def train(folder: Path, path: Path, strategy: str | None) -> None:
    """Fit on all ranks that there are."""
    node = tiny_node(path)
    node["trainer"] |= {
        "devices": world_size(),
        "strategy": strategy or node["trainer"]["strategy"],
    }
    result = sslight.fit({**node, "run_dir": str(folder / path.stem)})
    if node["trainer"]["strategy"] == "model_parallel":
        blocks = repeated_blocks(result.method.backbone)
        assert blocks
        assert all(isinstance(block, FSDPModule) for block in blocks)


def all_on_rank(folder: Path) -> None:
    for path in NAMING:
        train(folder, path, None)


def weights(run: Path) -> dict[str, torch.Tensor]:
    checkpoint = torch.load(run / "checkpoints" / f"step_{STEPS:09d}.ckpt", weights_only=True)
    return checkpoint["state_dict"]


def that_count(key: str, value: torch.Tensor) -> torch.Tensor:
    """Leave out the biases of attention's keys.

    They cancel in the softmax: their gradient is rounding, which Adam blows up to whole steps.
    """
    if not key.endswith("qkv.bias"):
        return value
    queries, _, values = value.chunk(3)
    return torch.cat([queries, values])


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of every config on two ranks."""
    folder = tmp_path_factory.mktemp("two")
    run_ranks(2, all_on_rank, folder, timeout=200)
    return folder


def test_both_kinds_of_network_under_both_strategies():
    found = {
        (whole["backbone"]["name"][:3], whole["trainer"]["strategy"])
        for whole in map(config.load, NAMING)
    }
    wanted = {(net, how) for net in ("vit", "reg") for how in ("ddp", "model_parallel")}
    assert wanted <= found


@pytest.mark.parametrize("path", NAMING, ids=lambda p: p.relative_to(CONFIGS).as_posix())
def test_two_ranks_are_one_process(two: Path, tmp_path: Path, path: Path):
    train(tmp_path, path, "auto")
    ours, alone = weights(two / path.stem), weights(tmp_path / path.stem)
    assert ours.keys() == alone.keys()
    for key, value in alone.items():
        close = {"rtol": 1e-4, "atol": 1e-5}
        torch.testing.assert_close(
            that_count(key, ours[key]),
            that_count(key, value),
            **close,
            msg=lambda m, k=key: f"{k}: {m}",
        )
