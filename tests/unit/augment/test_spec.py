import pickle

import pytest

from sslight.augment import ViewSpec


def test_frozen_hashable_picklable_and_lists_become_tuples():
    spec = ViewSpec(32, scale=[0.2, 1.0], brightness=[0.5, 1.5], mean=[0.5], std=[0.5])
    assert spec == ViewSpec(32, scale=(0.2, 1.0), brightness=(0.5, 1.5), mean=(0.5,), std=(0.5,))
    assert {spec: 1}[pickle.loads(pickle.dumps(spec))] == 1
    with pytest.raises(AttributeError):
        spec.size = 3


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"size": 0}, "size must be a whole number"),
        ({"size": 32.5}, "size must be a whole number"),
        ({"count": 0}, "count must be"),
        ({"crop": "middle"}, "crop must be one of random, center, none; got 'middle'"),
        ({"interpolation": "nearest"}, "interpolation must be one of"),
        ({"scale": (0.5, 0.2)}, "scale is a pair"),
        ({"scale": (0.0, 1.0)}, "0 < low"),
        ({"scale": (0.2, 1.5)}, "share of the image's area"),
        ({"scale": 0.5}, "scale is a pair"),
        ({"ratio": (-1, 1)}, "ratio is a pair"),
        ({"resize": 16}, r"resize \(16\) is smaller than size \(32\)"),
        ({"flip": 1.5}, r"flip is a probability in \[0, 1\], got 1.5"),
        ({"flip": True}, "flip is a probability"),
        ({"jitter": -0.1}, "jitter is a probability"),
        ({"photometric": 2}, "photometric is a probability"),
        ({"brightness": -1}, "brightness is a strength"),
        ({"contrast": (1.5, 0.5)}, "contrast is a pair"),
        ({"hue": 0.6}, r"hue is a strength in \[0, 0.5\]"),
        ({"hue": (-0.7, 0)}, "hue is a pair"),
        ({"blur_kernel": 4}, "blur_kernel must be odd"),
        ({"blur": 0.5, "blur_kernel": 65}, "does not fit"),
        ({"blur_sigma": (0, 1)}, "blur_sigma is a pair"),
        ({"solarize_threshold": 128}, "solarize_threshold"),
        ({"mean": None}, "come together"),
        ({"mean": (0.5,), "std": (0.5, 0.5)}, "one number per channel"),
        ({"std": (1, 0, 1)}, "std must be above 0"),
    ],
)
def test_errors_say_which_field(fields, words):
    with pytest.raises(ValueError, match=words):
        ViewSpec(**{"size": 32, **fields})


@pytest.mark.parametrize(("size", "kernel"), [(224, 23), (96, 9), (64, 7), (32, 3), (8, 3)])
def test_default_blur_kernel(size, kernel):
    assert ViewSpec(size).kernel == kernel


@pytest.mark.parametrize(("size", "resized"), [(224, 256), (96, 110), (65, 74), (64, 64), (32, 32)])
def test_default_resize(size, resized):
    assert ViewSpec(size, crop="center").resized == resized


def test_factor_ranges():
    spec = ViewSpec(32, brightness=0.4, contrast=1.5, saturation=(0.2, 3), hue=0.1)
    assert spec.factor_range("brightness") == (0.6, 1.4)
    assert spec.factor_range("contrast") == (0.0, 2.5)
    assert spec.factor_range("saturation") == (0.2, 3.0)
    assert spec.factor_range("hue") == (-0.1, 0.1)


@pytest.mark.parametrize(
    ("fields", "channels", "words"),
    [
        ({"grey": 0.2}, 1, "grey is defined on RGB, but the images have 1 channel;"),
        ({"jitter": 1, "hue": 0.1, "contrast": 0.1}, 4, "contrast, hue are defined on RGB"),
        ({}, 1, "mean and std have 3 numbers, but the images have 1 channel; write 1 or 1"),
    ],
)
def test_channels_are_checked(fields, channels, words):
    with pytest.raises(ValueError, match=words):
        ViewSpec(32, **fields).check_channels(channels)


def test_operations_for_any_channels_pass():
    spec = ViewSpec(
        32, flip=0.5, blur=1, solarize=1, jitter=1, brightness=0.4, mean=(0.5,), std=(1,)
    )
    for channels in (1, 3, 7):
        spec.check_channels(channels)
    ViewSpec(32, hue=0.1, mean=None, std=None).check_channels(1)  # jitter is off
