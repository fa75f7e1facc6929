import pickle
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sslight.augment import ViewMaker, Views, ViewSpec, make_views, views
from sslight.augment.params import COLUMNS, affected_rows, column, unpack_rows
from sslight.augment.pixels import finish, finish_batch_, to_float

EVERYTHING = {
    "flip": 0.5,
    "vertical_flip": 0.3,
    "jitter": 0.8,
    "brightness": 0.8,
    "contrast": 0.8,
    "saturation": 0.8,
    "hue": 0.2,
    "grey": 0.2,
    "blur": 0.5,
    "solarize": 0.3,
}


def images(n, height=32, width=32, channels=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (n, channels, height, width)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def maker(size=32, **fields):
    return Views([ViewSpec(size, count=2, **{**EVERYTHING, **fields})], seed=3)


def flat(params):
    return [params["crop"], params["table"], params["blend"]]


@pytest.mark.parametrize("shape", [(32, 32), (50, 70)], ids=["table", "resize"])
def test_one_by_one_is_the_batch(shape):
    make, pixels, index = maker(), images(24, *shape), torch.arange(100, 124)
    whole = make.fetch(pixels, 4, index)
    done = make.apply(whole)["views"]
    for i in range(24):
        single = make.fetch(pixels[i : i + 1], 4, index[i : i + 1])
        alone = make.apply(single)["views"]
        for v in range(2):
            assert torch.equal(single["views"][v][0], whole["views"][v][i])
            for a, b in zip(flat(single["params"][v]), flat(whole["params"][v]), strict=True):
                assert torch.equal(a[0], b[i])
            torch.testing.assert_close(alone[v][0], done[v][i], rtol=0, atol=2e-6)


def test_large_images_one_by_one_are_the_batch_bit_for_bit():
    make, pixels = maker(152), images(4, 160, 170)
    whole = make(pixels, 0, torch.arange(4))
    for i in range(4):
        for v, view in enumerate(make(pixels[i], 0, i)):
            assert torch.equal(view, whole[v][i])


@pytest.mark.parametrize("size", [32, 96, 152])
def test_the_devices_path_equals_the_cpus(size):
    make = maker(size)
    fetched = make.fetch(images(20, size, size), 0, torch.arange(20))
    for pixels, params in zip(fetched["views"], fetched["params"], strict=True):
        x = to_float(pixels)
        finish_batch_(x, params, unpack_rows(params["rows"], params["spans"]), make.specs[0])
        torch.testing.assert_close(x, finish(pixels, params, make.specs[0]), rtol=0, atol=2e-5)


class _ForbidReads(TorchDispatchMode):
    seen = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func not in (
            torch.ops.aten._local_scalar_dense.default,
            torch.ops.aten.nonzero.default,
            torch.ops.aten.lift_fresh.default,
        ), func
        self.seen += 1
        return func(*args, **(kwargs or {}))


def test_the_devices_path_never_waits():
    make = maker(photometric=0.5)
    fetched = make.fetch(images(20), 0, torch.arange(20))
    params = fetched["params"][0]
    with _ForbidReads() as mode:
        x = to_float(fetched["views"][0])
        finish_batch_(x, params, unpack_rows(params["rows"], params["spans"]), make.specs[0])
    assert mode.seen > 50


def test_any_device():
    make = maker(photometric=0.5)
    fetched = make.fetch(images(6), 0, torch.arange(6))
    params = {k: v.to("meta") if torch.is_tensor(v) else v for k, v in fetched["params"][0].items()}
    out = finish(fetched["views"][0].to("meta"), params, make.specs[0])
    assert out.shape == (6, 3, 32, 32)
    assert out.dtype == torch.float32


@pytest.mark.parametrize("size", [32, 152])
def test_photometric_operations_on_every_path(size, monkeypatch):
    """Of 8-bit pixels no path rounds another way before the levels, so all give the same ones."""
    make = Views([ViewSpec(size, flip=0.5, photometric=0.7, grey=0.3)], seed=3)
    spec, index = make.specs[0], torch.arange(20)
    fetched = make.fetch(images(20, size, size), 0, index)
    pixels, params = fetched["views"][0], fetched["params"][0]
    done = finish(pixels, params, spec)
    x = to_float(pixels)
    finish_batch_(x, params, unpack_rows(params["rows"], params["spans"]), spec)
    torch.testing.assert_close(x, done, rtol=0, atol=2e-5)
    alone = make(images(20, size, size)[7], 0, 7)[0]
    torch.testing.assert_close(alone, done[7], rtol=0, atol=2e-5)
    changed = column(params["table"], "levels") > 0
    assert 8 < changed.sum() < 20
    plain = Views([ViewSpec(size, flip=0.5, grey=0.3)], seed=3)(images(20, size, size), 0, index)[0]
    same = torch.tensor([torch.equal(a, b) for a, b in zip(plain, done, strict=True)])
    assert torch.equal(same, ~changed)


def test_apply_draws_nothing_and_keeps_its_input():
    make = maker()
    fetched = make.fetch(images(8), 0, torch.arange(8))
    before = [view.clone() for view in fetched["views"]]
    state = torch.get_rng_state()
    first, second = make.apply({**fetched, "label": 5}), make.apply(fetched)
    assert torch.equal(torch.get_rng_state(), state)
    assert first["label"] == 5
    assert first["n_global"] == 2
    assert "params" not in first
    assert "params" in fetched
    for a, b, c, d in zip(first["views"], second["views"], before, fetched["views"], strict=True):
        assert torch.equal(a, b)
        assert torch.equal(c, d)


def test_autocast_does_not_reach_the_pixels():
    make = maker(blur=1.0)
    fetched = make.fetch(images(8), 0, torch.arange(8))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = make.apply(fetched)["views"][0]
    assert torch.equal(inside, make.apply(fetched)["views"][0])


def test_views_epochs_seeds_and_images_differ():
    pixels = images(1).expand(4, -1, -1, -1)
    make = maker()
    a, b = make(pixels, 0, torch.arange(4))
    assert not torch.equal(a, b)
    assert not torch.equal(a[0], a[1])
    assert not torch.equal(a, make(pixels, 1, torch.arange(4))[0])
    assert not torch.equal(a, Views(make.specs, seed=4)(pixels, 0, torch.arange(4))[0])
    assert torch.equal(a, make(pixels, 0, torch.arange(4))[0])


def test_switching_an_operation_off_leaves_the_other_draws():
    index, pixels = torch.arange(30), images(30)
    full = maker().fetch(pixels, 0, index)["params"][0]
    less = maker(blur=0.0, jitter=0.0).fetch(pixels, 0, index)["params"][0]
    assert torch.equal(full["crop"], less["crop"])
    photometric = maker(photometric=0.5).fetch(pixels, 0, index)["params"][0]
    assert torch.equal(full["table"][:, : len(COLUMNS) - 3], photometric["table"][:, :-3])
    for name in ("flip", "vertical_flip", "grey", "solarize", "order"):
        assert torch.equal(column(full["table"], name), column(less["table"], name))
    assert not column(less["table"], "sigma").any()


def test_packed_rows_are_the_rows():
    params = maker().fetch(images(40), 0, torch.arange(40))["params"][0]
    rows = unpack_rows(params["rows"], params["spans"])
    expected = affected_rows(params["table"])
    assert rows.keys() == expected.keys()
    assert all(torch.equal(rows[name], expected[name]) for name in rows)
    hue = torch.cat([rows[f"hue{k}"] for k in range(4)]).sort().values
    assert torch.equal(hue, column(params["table"], "hue").nonzero().squeeze(1))
    assert params["table"].shape == (40, len(COLUMNS))


def test_a_batch_of_no_rows():
    make = maker()
    fetched = make.fetch(images(2), 0, torch.arange(2))
    params = [
        {k: v[:0] if torch.is_tensor(v) else v for k, v in p.items()} for p in fetched["params"]
    ]
    empty = {**fetched, "views": [v[:0] for v in fetched["views"]], "params": params}
    assert [v.shape for v in make.apply(empty)["views"]] == [(0, 3, 32, 32)] * 2


def test_global_and_local_views():
    make = Views([ViewSpec(48, count=2), ViewSpec(24, count=3, local=True)])
    assert (make.n_views, make.n_global, make.size) == (5, 2, 48)
    assert [v.shape[-1] for v in make(images(2, 60, 60))] == [48, 48, 24, 24, 24]
    with pytest.raises(ValueError, match="local ones after"):
        Views([ViewSpec(24, local=True), ViewSpec(48)])
    with pytest.raises(TypeError, match="list of one or more ViewSpec"):
        Views([])


def test_other_channels():
    spec = {"flip": 0.5, "blur": 0.5, "solarize": 0.5, "jitter": 1.0, "brightness": 0.4}
    spec["photometric"] = 0.5
    for channels in (1, 6):
        make = Views([ViewSpec(32, **spec, mean=(0.5,), std=(0.25,))])
        out = make(images(5, 40, 40, channels), 0)[0]
        assert out.shape == (5, channels, 32, 32)
        assert out.isfinite().all()
    with pytest.raises(ValueError, match="grey is defined on RGB"):
        Views([ViewSpec(32, grey=1.0)])(images(2, channels=1))


def test_normalisation():
    black = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    white = torch.full_like(black, 255)
    spec = ViewSpec(32, crop="none", mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0))
    out = Views([spec])(torch.cat([black, white]))[0][:, :, 0, 0]
    expected = torch.tensor([[-0.2, -0.2, -0.15], [1.8, 0.8, 0.35]])
    torch.testing.assert_close(out, expected)
    plain = Views([ViewSpec(32, crop="none", mean=None, std=None)])(white)[0]
    assert torch.equal(plain, torch.ones(1, 3, 32, 32))


def test_lone_use():
    make = views("simclr", 32)
    assert isinstance(make, ViewMaker)
    pixels = images(3, 40, 50)
    assert [v.shape for v in make(pixels)] == [(3, 3, 32, 32)] * 2
    assert [v.shape for v in make(pixels[0])] == [(3, 32, 32)] * 2
    assert [v.shape for v in make([pixels[0], pixels[1][:, :20]])] == [(2, 3, 32, 32)] * 2
    # Without an epoch it draws as an ordinary transform does.
    assert not torch.equal(make(pixels)[0], make(pixels)[0])
    torch.manual_seed(1)
    first = make(pixels)[0]
    torch.manual_seed(1)
    assert torch.equal(make(pixels)[0], first)
    # With one it is exact, batched or not.
    assert torch.equal(
        make.fetch([pixels[2]], 3, torch.tensor([2]))["views"][1][0],
        make.fetch(pixels, 3, torch.arange(3))["views"][1][2],
    )


def test_make_views():
    make = make_views("byol", seed=5)
    assert make.n_views == 2
    assert make_views(make) is make
    assert make_views(ViewSpec(32)).size == 32
    copy = pickle.loads(pickle.dumps(make))
    assert copy.specs == make.specs
    assert copy.seed == 5
    with pytest.raises(ValueError, match="no preset 'simclear'; there are: simclr"):
        make_views("simclear")
    with pytest.raises(ValueError, match="size goes with a preset"):
        views([ViewSpec(32)], 32)


@pytest.mark.parametrize(
    "bad",
    [
        [torch.zeros(3, 8, 8)],
        [torch.zeros(8, 8, dtype=torch.uint8)],
        [torch.zeros(3, 8, 8, dtype=torch.uint8), torch.zeros(1, 8, 8, dtype=torch.uint8)],
    ],
)
def test_wrong_images_are_named(bad):
    with pytest.raises(ValueError, match=r"image \d is torch.* expected torch.uint8 \[C, h, w\]"):
        views("eval", 8)(bad)


def test_index_and_images_must_agree():
    with pytest.raises(ValueError, match="got 2 images and 3 indices"):
        views("eval", 8)(images(2), 0, torch.arange(3))


def test_an_anchor_is_the_same_region_larger_flipped_likewise_and_in_its_own_colours():
    pixels, index = images(16, 70, 60), torch.arange(16)
    plain = dict.fromkeys(("jitter", "grey", "blur", "solarize"), 0.0)
    twice = Views([ViewSpec(48, count=2, **{**EVERYTHING, **plain})], seed=3)
    views = maker(24).apply(maker(24).fetch(pixels, 2, index))["views"]
    batch = maker(24, anchor=48).apply(maker(24, anchor=48).fetch(pixels, 2, index))
    assert set(batch) == {"views", "anchors", "n_global"}
    for anchor, expected in zip(batch["anchors"], twice(pixels, 2, index), strict=True):
        assert torch.equal(anchor, expected)
    for with_anchor, without in zip(batch["views"], views, strict=True):
        assert torch.equal(with_anchor, without)


def test_an_image_is_reduced_no_further_than_its_anchor_allows():
    spec = ViewSpec(32, scale=(1.0, 1.0), ratio=(1.0, 1.0))
    for anchor, factor in ((None, 8), (64, 4), (256, 1)):
        assert Views([replace(spec, anchor=anchor)]).reduction(0, 0, 256, 256) == factor


def test_an_anchor_needs_a_random_crop():
    with pytest.raises(ValueError, match="an anchor is of a random crop"):
        ViewSpec(32, crop="center", anchor=64)
