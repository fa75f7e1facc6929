import inspect

import pytest

from sslight.augment import PRESETS, Views, ViewSpec


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("size", [32, 224])
def test_presets_build_views_of_the_size_asked_for(name, size):
    specs = PRESETS[name](size=size)
    assert all(isinstance(spec, ViewSpec) and spec.size == size for spec in specs)
    assert Views(specs).size == size


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
