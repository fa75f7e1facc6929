import inspect

import pytest

from sslight.augment import PRESETS, Views, ViewSpec
from sslight.augment.jepa_masks import JepaMasks
from sslight.augment.masks import BlockMasks
from sslight.augment.parts import Part


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("size", [32, 224])
def test_presets_build_views_of_the_size_asked_for(name, size):
    made = PRESETS[name](size=size)
    assert all(isinstance(entry, ViewSpec | Part) for entry in made)
    views = Views(made)
    assert all(spec.local or spec.size == size for spec in views.specs)
    assert views.size == size


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_explicit_arguments_with_defaults(name):
    for parameter in inspect.signature(PRESETS[name]).parameters.values():
        assert parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        assert parameter.default is not parameter.empty
        assert parameter.annotation is not parameter.empty


def test_simclr():
    (spec,) = PRESETS["simclr"](224, strength=0.5, count=4)
    assert (spec.count, spec.jitter, spec.grey, spec.blur, spec.flip) == (4, 0.8, 0.2, 0.5, 0.5)
    assert (spec.brightness, spec.contrast, spec.saturation, spec.hue) == (0.4, 0.4, 0.4, 0.1)
    assert PRESETS["simclr"](32)[0].blur == 0
    assert PRESETS["simclr"](32, blur=0.5)[0].blur == 0.5


def test_byol_is_asymmetric():
    first, second = PRESETS["byol"](224)
    assert (first.blur, second.blur) == (1.0, 0.1)
    assert (first.solarize, second.solarize) == (0.0, 0.2)
    assert (first.saturation, first.hue) == (0.2, 0.1)
    assert [spec.blur for spec in PRESETS["byol"](32)] == [0, 0]
    assert Views([first, second]).n_global == 2


def test_eval_and_supervised():
    (spec,) = PRESETS["eval"](224)
    assert (spec.crop, spec.resized, spec.flip, spec.jitter) == ("center", 256, 0, 0)
    (spec,) = PRESETS["supervised"](224)
    assert (spec.crop, spec.flip, spec.jitter, spec.count) == ("random", 0.5, 0, 1)


def test_mae_and_simmim_leave_colours_alone():
    (mae,), (simmim,) = PRESETS["mae"](224), PRESETS["simmim"](224)
    assert (mae.scale, mae.interpolation) == ((0.2, 1.0), "bicubic")
    assert (simmim.scale, simmim.interpolation) == ((0.67, 1.0), "bilinear")
    for spec in (mae, simmim):
        assert (spec.count, spec.flip, spec.jitter, spec.grey, spec.blur) == (1, 0.5, 0, 0, 0)


def test_moco_and_ressl():
    (spec,) = PRESETS["moco"](224)
    assert (spec.count, spec.scale, spec.brightness, spec.hue) == (2, (0.2, 1.0), 0.4, 0.1)
    weak, strong = PRESETS["ressl"](224)
    assert (weak.jitter, weak.grey, weak.blur, weak.flip) == (0, 0, 0, 0.5)
    assert (strong.jitter, strong.grey, strong.blur, strong.count) == (0.8, 0.2, 0.5, 1)


@pytest.mark.parametrize("name", ["simclr", "byol", "moco", "ressl", "swav"])
def test_crops_may_be_resized_bicubically(name):
    assert {spec.interpolation for spec in PRESETS[name](224)} == {"bilinear"}
    assert {s.interpolation for s in PRESETS[name](224, interpolation="bicubic")} == {"bicubic"}


def test_what_recipes_change_of_a_preset_alone():
    (solarized,) = PRESETS["simclr"](32, solarize=0.2)
    (plain,) = PRESETS["simclr"](32)
    assert (solarized.solarize, plain.solarize) == (0.2, 0)
    weak, strong = PRESETS["ressl"](32, saturation=0.2, mean=(0.5,), std=(0.2,))
    assert (strong.brightness, strong.saturation, strong.hue) == (0.4, 0.2, 0.1)
    assert weak.saturation == 0
    assert weak.mean == strong.mean == (0.5,)
    assert PRESETS["npid"](32, flip=0.0)[0].flip == 0


def test_npid_changes_the_colours_of_every_view():
    (spec,) = PRESETS["npid"](224, grey=0.0)
    assert (spec.jitter, spec.hue, spec.grey, spec.scale, spec.count) == (1, 0.4, 0, (0.2, 1), 1)


def test_pirl_has_a_larger_crop_for_patches():
    whole, cut = PRESETS["pirl"](224)
    assert (whole.size, whole.scale, whole.local) == (224, (0.08, 1.0), False)
    assert (cut.size, cut.scale, cut.local) == (255, (0.6, 1.0), True)
    assert (whole.jitter, whole.brightness, whole.hue, whole.grey) == (1, 0.4, 0.2, 0.2)
    assert PRESETS["pirl"](32)[1].size == 36
    assert [view.photometric for view in PRESETS["pirl"](32)] == [0, 0]
    assert [view.photometric for view in PRESETS["pirl"](32, photometric=0.66)] == [0.66, 0.66]


def test_jigsaw_is_one_square_crop_often_grey():
    (spec,) = PRESETS["jigsaw"]()
    assert (spec.size, spec.ratio, spec.grey, spec.flip, spec.count) == (255, (1, 1), 0.66, 0.5, 1)
    assert spec.jitter == 0


def test_swav_is_two_large_and_six_small_crops():
    large, small = PRESETS["swav"](224)
    assert [(s.size, s.count, s.local, s.scale) for s in (large, small)] == [
        (224, 2, False, (0.14, 1.0)),
        (96, 6, True, (0.05, 0.14)),
    ]
    assert small.hue == large.hue == 0.2
    assert Views([large, small]).n_global == 2
    assert len(PRESETS["swav"](224, local_count=0)) == 1


def test_dino_differs_in_every_kind_of_view():
    first, second, local = PRESETS["dino"](224)
    assert [s.blur for s in (first, second, local)] == [1.0, 0.1, 0.5]
    assert [s.solarize for s in (first, second, local)] == [0.0, 0.2, 0.0]
    assert (local.size, local.count, local.scale) == (96, 8, (0.05, 0.4))
    assert first.interpolation == "bicubic"
    assert len(PRESETS["dino"](224, local_count=0)) == 2


@pytest.mark.parametrize(("size", "small"), [(224, 96), (32, 16), (16, 8), (64, 24), (8, 8)])
def test_the_side_of_small_crops(size, small):
    assert PRESETS["swav"](size)[1].size == small


def test_ibot_is_dino_with_masks_on_the_global_views():
    *views, masks = PRESETS["ibot"](224, patch_size=14, local_count=10)
    assert views == PRESETS["dino"](
        224, scale=(0.32, 1.0), local_scale=(0.05, 0.32), local_count=10
    )
    assert masks == BlockMasks(grid=16, views=2, prob=0.5, ratio=(0.1, 0.5), min_block=4)
    assert PRESETS["ibot"](min_block=16)[-1].min_block == 16


def test_data2vec_masks_its_one_view():
    view, masks = PRESETS["data2vec"](224)
    assert (view.count, view.flip, view.jitter, view.brightness, view.hue) == (1, 0.5, 1.0, 0.4, 0)
    assert masks == BlockMasks(grid=14, views=1, prob=1.0, ratio=(0.6, 0.6), min_block=16)


def test_msn_has_a_target_and_eleven_anchors():
    large, focal = PRESETS["msn"](224)
    assert (large.count, large.scale, focal.count, focal.size) == (2, (0.3, 1.0), 10, 96)
    assert (focal.scale, focal.brightness, focal.hue) == ((0.05, 0.3), 0.4, 0.1)
    assert len(PRESETS["msn"](224, count=3, local_count=0)) == 1


def test_ijepa_only_crops():
    view, masks = PRESETS["ijepa"](224, patch_size=14)
    assert view == ViewSpec(224, scale=(0.3, 1.0))
    assert masks == JepaMasks(16)


@pytest.mark.parametrize("name", ["ibot", "data2vec", "ijepa"])
def test_patches_must_fit_the_view(name):
    with pytest.raises(ValueError, match="patch_size 16 does not divide size 40"):
        PRESETS[name](40)
