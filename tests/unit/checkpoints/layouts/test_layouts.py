"""Files of other projects are recognised by their names, and give the backbone they evaluate."""

from __future__ import annotations

from pathlib import Path

import foreign
import pytest
import torch

from sslight.backbones import backbone
from sslight.checkpoints import init_backbone, load_backbone
from sslight.checkpoints.formats import read_state
from sslight.checkpoints.layouts import SPELLINGS, WRAPPINGS, best_reading, readings
from sslight.checkpoints.layouts._names import within
from sslight.checkpoints.layouts.order import by_order

TINY = {"image_size": 8, "patch_size": 4, "width": 16, "heads": 2, "depth": 4}


def resnet(seed: int = 0):
    torch.manual_seed(seed)
    return backbone("resnet10", width=8, stem="small")


def transformer(seed: int = 0):
    torch.manual_seed(seed)
    return backbone("vit_t_16", **TINY)


def same(a, b) -> bool:
    a, b = a.state_dict(), b.state_dict()
    return all(torch.equal(a[name], b[name]) for name in b if name != "mask_token")


CASES = [(resnet, file, name) for file, name in foreign.RESNETS.items()]
CASES += [(transformer, file, name) for file, name in foreign.TRANSFORMERS.items()]


@pytest.mark.parametrize(
    ("build", "file", "name"), CASES, ids=lambda value: getattr(value, "__name__", None)
)
def test_a_projects_file_gives_every_tensor_of_its_backbone(tmp_path, build, file, name):
    original, target = build(), build(seed=1)
    torch.save(file(original.state_dict()), tmp_path / "x.pth")
    assert not same(target, original)
    report = init_backbone(target, tmp_path / "x.pth")
    assert report.complete
    assert report.layout == name
    assert same(target, original)


def test_every_layout_has_a_recorded_file():
    seen = set()
    files = [*foreign.RESNETS, *foreign.TRANSFORMERS]
    states = [resnet().state_dict()] * len(foreign.RESNETS)
    states += [transformer().state_dict()] * len(foreign.TRANSFORMERS)
    for file, state in zip(files, states, strict=True):
        names = dict(_flat(file(state)))
        for reading in readings(names):
            seen |= {part.name for part in (reading.wrapping, reading.spelling) if part}
    tested_below = {"RegNet of ClassyVision", "transformer of torchvision", "ResNet of lightly"}
    known = {layout.name for layout in (*WRAPPINGS, *SPELLINGS)}
    assert len(known) > 12
    assert known == seen | tested_below


def _flat(content, prefix=""):
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _flat({str(k): v for k, v in value.items()}, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def test_the_docs_list_every_layout():
    page = (Path(__file__).parents[4] / "docs" / "weights.md").read_text(encoding="utf-8")
    for layout in (*WRAPPINGS, *SPELLINGS):
        assert f"| {layout.name} | {layout.told_by} |" in page


def test_every_layout_says_what_tells_it_and_stays_silent_on_other_files():
    names = ["conv1.weight", "bn1.running_mean", "layer1.0.conv1.weight", "mine.weight"]
    for layout in (*WRAPPINGS, *SPELLINGS):
        assert "`" in layout.told_by, layout.name
    assert [str(reading) for reading in readings(names)] == [""]


def test_regnets_of_vissl_keep_their_stage_and_place():
    names = {
        "trunk._feature_blocks.conv1.stem.0.weight": "stem.0.weight",
        "trunk._feature_blocks.conv1.stem.1.running_mean": "stem.1.running_mean",
        "trunk._feature_blocks.res2.block1-0.proj.weight": "proj.0.weight",
        "trunk._feature_blocks.res2.block1-0.bn.bias": "proj.1.bias",
        "trunk._feature_blocks.res3.block2-part1.block2-3.f.a.0.weight": "f.a.0.weight",
        "trunk._feature_blocks.res5.block4-11.f.se.excitation.2.bias": "f.se.fc2.bias",
        "trunk._feature_blocks.res5.block4-11.f.c.weight": "f.c.0.weight",
        "trunk._feature_blocks.res5.block4-11.f.final_bn.weight": "f.c.1.weight",
    }
    where = {
        "block1-0": "trunk_output.block1.block1-0.",
        "block2-3": "trunk_output.block2.block2-3.",
        "block4-11": "trunk_output.block4.block4-11.",
    }
    (first, *_) = readings(names)
    assert str(first) == "VISSL, RegNet of ClassyVision"
    for theirs, leaf in names.items():
        place = next((path for block, path in where.items() if f".{block}." in theirs), "")
        assert first.names[theirs] == place + leaf


def test_sharding_and_compiling_leave_no_trace_in_names():
    names = ["_orig_mod.conv1._fsdp_wrapped_module.weight", "_orig_mod._checkpointed.weight"]
    *_, last = readings(names)
    assert last.names == dict(zip(names, ["conv1.weight", "_checkpointed.weight"], strict=True))


def test_the_outermost_holder_counts_and_parts_are_whole():
    names = ["state_dict.backbone.w", "state_dict.target.backbone.w", "state_dict.mybackbone.w"]
    assert within(names, "absent.", "backbone.") == {"state_dict.backbone.w": "w"}


def test_unknown_holders_are_found_and_an_average_comes_second(tmp_path):
    original, target = resnet(), resnet(seed=1)
    state = original.state_dict()
    content = {"state_dict": foreign.under("net_momentum.cnn.", foreign.other(state))}
    content["state_dict"] |= foreign.under("net_online.cnn.", state)
    torch.save(content, tmp_path / "x.ckpt")
    report = init_backbone(target, tmp_path / "x.ckpt")
    assert report.prefix == "state_dict.net_online.cnn."
    assert same(target, original)


def test_a_checkpoint_of_ours_gives_what_its_method_evaluates(tmp_path):
    original, target = resnet(), resnet(seed=1)
    state = original.state_dict()
    names = {**foreign.under("backbone.", foreign.other(state)), **foreign.under("t.net.", state)}
    told = {"prefixes": {"main": "t.net.", "student": "backbone."}}
    torch.save({"state_dict": names, "sslight": told}, tmp_path / "x.ckpt")
    init_backbone(target, tmp_path / "x.ckpt")
    assert same(target, original)


# --- by order --------------------------------------------------------------------------------


def test_other_names_in_the_same_order_are_matched_and_said(tmp_path):
    original, target = resnet(), resnet(seed=1)
    theirs = {
        f"_m{i}.{name.split('.')[-1]}": t
        for i, (name, t) in enumerate(original.state_dict().items())
    }
    torch.save({**theirs, **foreign.linear("_out.", 64)}, tmp_path / "x.pth")
    report = init_backbone(target, tmp_path / "x.pth", strict=True)
    assert "matched by order" in str(report)
    assert same(target, original)
    without = {k: v for k, v in theirs.items() if not k.endswith("num_batches_tracked")}
    torch.save(without, tmp_path / "old.pth")
    again = resnet(seed=2)
    assert init_backbone(again, tmp_path / "old.pth").complete
    torch.testing.assert_close(again.layer4[0].bn2.running_var, original.layer4[0].bn2.running_var)


def test_order_is_no_ground_where_a_kind_or_shape_differs():
    own = {f"l{i}.weight": (i, i) for i in range(9)}
    assert len(by_order({f"x{i}.weight": (i, i) for i in range(9)}, own)) == 9
    assert by_order({f"x{i}.bias": (i, i) for i in range(9)}, own) == {}
    assert by_order({f"x{i}.weight": (i, i + (i == 5)) for i in range(9)}, own) == {}
    assert by_order({f"x{i}.weight": (i, i) for i in range(12)}, own) == {}
    assert by_order({"a.weight": (1, 1)}, {"b.weight": (1, 1)}) == {}


# --- traits ----------------------------------------------------------------------------------


def test_twelve_heads_of_moco_v3s_small_transformer_are_insisted_on(tmp_path):
    torch.manual_seed(0)
    sizes = {"image_size": 32, "depth": 1}
    right = backbone("vit_s_16", heads=12, **sizes)
    torch.save(foreign.moco_v3(right.state_dict()), tmp_path / "vit-s.pth.tar")
    with pytest.raises(ValueError, match=r"MoCo v3's network has heads: 12[\s\S]*heads: 12"):
        init_backbone(backbone("vit_s_16", **sizes), tmp_path / "vit-s.pth.tar")
    assert init_backbone(backbone("vit_s_16", heads=12, **sizes), tmp_path / "vit-s.pth.tar")
    loaded = load_backbone(tmp_path / "vit-s.pth.tar")
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(loaded(images), right.eval()(images))


def test_the_stem_of_solo_learn_is_rebuilt_and_otherwise_said(tmp_path):
    torch.manual_seed(0)
    original = backbone("resnet10", width=8, stem="solo").eval()
    torch.save(foreign.solo_learn(original.state_dict()), tmp_path / "x.ckpt")
    loaded = load_backbone(tmp_path / "x.ckpt")
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(loaded(images), original(images), rtol=0, atol=0)
    report = init_backbone(backbone("resnet10", width=8, stem="small"), tmp_path / "x.ckpt")
    assert "solo-learn's network has stem: solo" in str(report)


def test_best_reading_takes_the_names_that_the_backbone_has(tmp_path):
    """A module of one's own may have torchvision's names, which otherwise become timm's."""
    names = ["class_token", "conv_proj.weight", "encoder.pos_embedding", "encoder.ln.bias"]
    shapes = dict.fromkeys(names, (1,))
    assert set(best_reading(shapes, shapes).names.values()) == set(names)
    timm = dict.fromkeys(["cls_token", "patch_embed.proj.weight", "pos_embed", "norm.bias"], (1,))
    assert set(best_reading(shapes, timm).names.values()) == set(timm)


def test_heads_are_there_for_who_wants_them(tmp_path):
    torch.save(foreign.vissl(resnet().state_dict()), tmp_path / "x.torch")
    heads = [name for name in read_state(tmp_path / "x.torch") if ".heads." in name]
    assert len(heads) == 4
    assert all(name.startswith("classy_state_dict.base_model.model.heads.0.clf") for name in heads)
