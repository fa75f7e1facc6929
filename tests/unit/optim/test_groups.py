from __future__ import annotations

import pytest
import torch
from torch import nn

from sslight.optim import ParamRule, Recipe, parameter_groups


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(4, 2)
        self.norm = nn.LayerNorm(4)
        self.gamma = nn.Parameter(torch.ones(4))


class Trunk(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 4))
        self.stem = nn.Conv2d(3, 4, 2)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.fc_norm = nn.LayerNorm((2, 4))


class Method(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = Trunk()
        self.teacher = nn.Linear(4, 4).requires_grad_(False)
        self.projector = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4))
        self.prototypes = nn.utils.parametrizations.weight_norm(nn.Linear(4, 8, bias=False))


def groups_of(recipe: Recipe, module: nn.Module | None = None) -> list[dict]:
    return parameter_groups(module or Method(), recipe)


def setting(groups: list[dict], key: str) -> dict[str, object]:
    return {name: group[key] for group in groups for name in group["names"]}


def test_norms_biases_and_1d_tensors_are_not_decayed():
    groups = groups_of(Recipe())
    assert [group["name"] for group in groups] == ["decay", "no_decay"]
    decayed, plain = groups[0]["names"], groups[1]["names"]
    assert "backbone.cls_token" in decayed
    assert "backbone.blocks.0.attn.in_proj_weight" in decayed
    assert "prototypes.parametrizations.weight.original0" in decayed
    assert "backbone.blocks.0.attn.in_proj_bias" in plain
    assert "backbone.blocks.1.gamma" in plain
    assert "backbone.fc_norm.weight" in plain  # a norm over two dimensions is a norm
    assert groups[0]["wd_scale"] == 1.0
    assert groups[1]["wd_scale"] == 0.0


def test_every_trainable_parameter_appears_once_and_no_other():
    module = Method()
    module.tied = module.projector[0]
    groups = groups_of(Recipe(layer_decay=0.5), module)
    found = [id(p) for group in groups for p in group["params"]]
    assert sorted(found) == sorted(id(p) for p in module.parameters() if p.requires_grad)
    for group in groups:
        named = dict(module.named_parameters())
        assert [id(named[name]) for name in group["names"]] == [id(p) for p in group["params"]]


def test_the_switches_of_decay():
    scale = setting(groups_of(Recipe(decay_norm=True)), "wd_scale")
    assert scale["backbone.blocks.0.norm.bias"] == scale["projector.1.weight"] == 1.0
    assert scale["projector.0.bias"] == 0.0
    scale = setting(groups_of(Recipe(decay_bias=True)), "wd_scale")
    assert scale["projector.0.bias"] == scale["backbone.blocks.0.gamma"] == 1.0
    assert scale["projector.1.bias"] == 0.0
    both = groups_of(Recipe(decay_bias=True, decay_norm=True))
    assert len(both) == 1


def test_rules_the_first_match_decides():
    rules = (
        ParamRule(r"^prototypes\.", lr_scale=0.1, weight_decay=0.0, freeze_steps=5),
        ParamRule(r"weight", lr_scale=2.0),
    )
    groups = groups_of(Recipe(groups=rules))
    lr, decay = setting(groups, "lr_scale"), setting(groups, "fixed_decay")
    frozen = setting(groups, "freeze_steps")
    prototype = "prototypes.parametrizations.weight.original1"
    assert (lr[prototype], decay[prototype], frozen[prototype]) == (0.1, 0.0, 5)
    assert (lr["projector.0.weight"], decay["projector.0.weight"]) == (2.0, None)
    assert lr["projector.0.bias"] == 1.0
    assert r"^prototypes\." in [group["name"] for group in groups]
    assert len({group["name"] for group in groups}) == len(groups)


def test_a_rule_that_matches_nothing_lists_near_names():
    recipe = Recipe(groups=(ParamRule(r"^projecter\.0"),))
    with pytest.raises(ValueError, match=r"'\^projecter.*matches none of 29.*projector\.0\."):
        groups_of(recipe)


def test_layer_decay():
    scale = setting(groups_of(Recipe(layer_decay=0.5)), "lr_scale")
    assert scale["backbone.cls_token"] == scale["backbone.stem.bias"] == 0.5**3
    assert scale["backbone.blocks.0.attn.in_proj_weight"] == 0.5**2
    assert scale["backbone.blocks.1.gamma"] == 0.5
    assert scale["backbone.fc_norm.weight"] == 0.5
    assert scale["projector.0.weight"] == 1.0


def test_layer_decay_without_a_backbone_attribute_takes_the_whole_module():
    scale = setting(groups_of(Recipe(layer_decay=0.5), Trunk()), "lr_scale")
    assert scale["cls_token"] == 0.125


def test_frozen_layers_still_count_in_the_depth():
    module = Method()
    module.backbone.stem.requires_grad_(False)
    module.backbone.blocks[1].requires_grad_(False)
    scale = setting(groups_of(Recipe(layer_decay=0.5), module), "lr_scale")
    assert scale["backbone.cls_token"] == 0.125
    assert "backbone.stem.weight" not in scale


def test_head_lr():
    scale = setting(groups_of(Recipe(lr=0.2, head_lr=0.6, layer_decay=0.5)), "lr_scale")
    assert scale["projector.0.weight"] == pytest.approx(3.0)
    assert scale["backbone.blocks.1.gamma"] == 0.5
    with pytest.raises(ValueError, match="attribute named 'backbone'"):
        groups_of(Recipe(head_lr=0.5), Trunk())


def test_nothing_to_train():
    with pytest.raises(ValueError, match="Linear has 2 parameters, none of which"):
        groups_of(Recipe(), nn.Linear(2, 2).requires_grad_(False))
