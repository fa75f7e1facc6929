"""Views in a config: presets with parts, lists of specs, and their errors."""

from __future__ import annotations

from typing import Any

import pytest

from sslight import config as configs
from sslight.augment.masks import BlockMasks
from sslight.augment.spec import ViewSpec
from sslight.run.assemble import build_data


def config(views: Any) -> dict[str, Any]:
    return {
        "method": {"name": "simclr"},
        "backbone": {"name": "resnet18"},
        "data": {"train": {"name": "shapes", "num_images": 8}, "batch_size": 4, "views": views},
    }


def test_a_preset_with_masks_is_written_by_name() -> None:
    node = config({"name": "ibot", "size": 224, "patch_size": 16})
    configs.checked(node)
    maker = build_data(node, ()).maker
    assert maker.parts == (BlockMasks(14),)  # type: ignore[attr-defined]
    assert maker.n_global == 2


def test_a_list_of_specs_stays_a_list_of_specs() -> None:
    node = config([{"size": 32, "count": 2}])
    configs.checked(node)
    assert build_data(node, ()).maker.specs == (ViewSpec(32, count=2),)


def test_a_mistake_in_views_is_named() -> None:
    with pytest.raises(
        configs.ConfigError, match=r"data\.views\.patch_size: patch_size 16 does not divide"
    ):
        configs.checked(config({"name": "ibot", "size": 40}))
    with pytest.raises(configs.ConfigError, match=r"data\.views\.0\.siz: unknown key"):
        configs.checked(config([{"siz": 40}]))
