"""Every kind of image file: right where it can be, named where not."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, features

from sslight.data.decode import decode, decode_reduced
from sslight.data.errors import ImageError
from sslight.data.modes import MODES


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def hwc(tensor):
    return tensor.permute(1, 2, 0).numpy()


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def smooth(height=24, width=40):
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 6, y * 10, (x + y) * 3], -1).astype(np.uint8)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_rgb_is_exact_in_lossless_formats(kind):
    pixels = noise(7, 5, 3)
    options = {"lossless": True} if kind == "WEBP" else {}
    out = decode(encoded(Image.fromarray(pixels), kind, **options))
    assert out.shape == (3, 7, 5)
    assert out.dtype == torch.uint8
    assert out.stride() == (1, 15, 3)
    assert np.array_equal(hwc(out), pixels)
    out.fill_(1)  # writable


@pytest.mark.parametrize(
    "options",
    [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 20}, {"keep_rgb": True}],
    ids=str,
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpeg_equals_pillow(options, mode):
    image = Image.fromarray(smooth()).convert(mode)
    data = encoded(image, "JPEG", **options)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.array_equal(hwc(decode(data)), expected)


def test_jpeg_is_right_without_torchvision_s_decoder(monkeypatch):
    data = encoded(Image.fromarray(smooth()), "JPEG")
    fast = decode(data)
    monkeypatch.setattr("sslight.data.decode._torchvision_jpeg", lambda data: None)
    assert torch.equal(decode(data), fast)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(Image.fromarray(smooth()), kind, exif=exif, **lossless)
    plain = hwc(decode(encoded(Image.fromarray(smooth()), kind, **lossless)))
    turns = {1: 0, 2: 0, 3: 2, 4: 2, 5: 3, 6: 3, 7: 1, 8: 1}  # counter-clockwise quarters
    expected = np.rot90(plain, turns[orientation])
    if orientation in (2, 4, 5, 7):
        expected = expected[:, ::-1]
    assert np.array_equal(hwc(decode(data)), expected)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_leaves_the_image_as_it_is():
    data = encoded(Image.fromarray(smooth()), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert np.array_equal(
        hwc(decode(data)), hwc(decode(encoded(Image.fromarray(smooth()), "JPEG")))
    )


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_and_not_white(kind):
    values = np.array([[0, 128, 129, 257, 12850, 32896, 65535]], dtype=np.uint16)
    out = hwc(decode(encoded(Image.fromarray(values), kind)))
    assert out[0, :, 0].tolist() == [0, 0, 1, 1, 50, 128, 255]
    assert (out[..., 0] == out[..., 1]).all()
    assert (out[..., 0] == out[..., 2]).all()


def test_sixteen_bit_pgm_big_endian():
    values = np.array([0, 257 * 9, 257 * 200, 65535], dtype=">u2")
    out = hwc(decode(b"P5 4 1 65535\n" + values.tobytes()))
    assert out[0, :, 0].tolist() == [0, 9, 200, 255]


def png_of_sixteen_bit_rgb(values):
    def chunk(kind, body):
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_sixteen_bit_colour():
    levels = noise(3, 4, 3)
    out = hwc(decode(png_of_sixteen_bit_rgb(levels.astype(np.uint16) * 257)))
    assert np.array_equal(out, levels)


def test_alpha_is_laid_on_black():
    rgba = np.array([[[200, 100, 50, 255], [200, 100, 50, 128], [200, 100, 50, 0]]], np.uint8)
    out = hwc(decode(encoded(Image.fromarray(rgba), "PNG")))
    assert out[0].tolist() == [[200, 100, 50], [100, 50, 25], [0, 0, 0]]


def test_grey_with_alpha():
    image = Image.merge("LA", [Image.new("L", (2, 1), 200), Image.new("L", (2, 1), 51)])
    assert hwc(decode(encoded(image, "PNG")))[0, 0].tolist() == [40, 40, 40]


def test_palette_with_and_without_transparency():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1])
    assert hwc(decode(encoded(image, "PNG")))[0].tolist() == [[10, 20, 30], [200, 100, 50]]
    hidden = encoded(image, "PNG", transparency=1)
    assert hwc(decode(hidden))[0].tolist() == [[10, 20, 30], [0, 0, 0]]
    half = encoded(image, "PNG", transparency=bytes([255, 128]))
    assert hwc(decode(half))[0].tolist() == [[10, 20, 30], [100, 50, 25]]


def test_one_transparent_colour_of_an_rgb_png_is_black():
    image = Image.new("RGB", (2, 1), (9, 8, 7))
    image.putpixel((1, 0), (255, 255, 255))
    data = encoded(image, "PNG", transparency=(255, 255, 255))
    assert hwc(decode(data))[0].tolist() == [[9, 8, 7], [0, 0, 0]]


def test_one_bit():
    image = Image.new("1", (3, 1))
    image.putpixel((1, 0), 1)
    assert hwc(decode(encoded(image, "PNG")))[0, :, 0].tolist() == [0, 255, 0]


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk(kind):
    cmyk = np.zeros((16, 16, 4), np.uint8)
    cmyk[..., 1:3] = 255  # magenta + yellow = red
    out = hwc(decode(encoded(Image.fromarray(cmyk, "CMYK"), kind)))
    assert np.abs(out.astype(int) - [255, 0, 0]).max() <= 3


@pytest.mark.parametrize("scale", [1, 255])
def test_floats_of_a_known_scale(scale):
    values = np.array([[0, 0.2, 1.0]], np.float32) * scale
    assert hwc(decode(encoded(Image.fromarray(values), "TIFF")))[0, :, 0].tolist() == [0, 51, 255]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array([[0, -2.5]], np.float32), "floats from -2.5 to 0"),
        (np.array([[0, np.nan]], np.float32), "no known|known scale"),
        (np.array([[0, 70000]], np.int32), "32-bit integers from 0 to 70000"),
        (np.array([[-1, 5]], np.int32), "from -1 to 5"),
    ],
)
def test_numbers_without_a_known_scale_are_named(values, words):
    with pytest.raises(ImageError, match=words):
        decode(encoded(Image.fromarray(values), "TIFF"))


def test_integers_within_sixteen_bit():
    values = np.array([[0, 257 * 77, 65535]], np.int32)
    assert hwc(decode(encoded(Image.fromarray(values), "TIFF")))[0, :, 0].tolist() == [0, 77, 255]


def test_premultiplied_alpha_is_on_black_already():
    grey = Image.merge("LA", [Image.new("L", (1, 1), 200), Image.new("L", (1, 1), 128)])
    assert MODES["La"](grey.convert("La"))[0, 0].tolist() == [100, 100, 100]
    colour = Image.new("RGBA", (1, 1), (200, 100, 50, 128)).convert("RGBa")
    assert MODES["RGBa"](colour)[0, 0].tolist() == [100, 50, 25]


def test_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "lime", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert hwc(decode(data))[0, 0].tolist() == [255, 0, 0]


def test_unknown_colour_mode_is_named():
    image = Image.new("LAB", (2, 2))
    with pytest.raises(ImageError, match=r"a/b\.tif: colour mode LAB is not one of RGB, "):
        decode(encoded(image, "TIFF"), "a/b.tif")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_a_bomb_is_refused_by_the_limit(kind):
    data = encoded(Image.fromarray(smooth(50, 40)), kind)
    with pytest.raises(ImageError, match="40 x 50 = 2000 pixels, more than max_pixels=1999"):
        decode(data, "big", max_pixels=1999)
    assert decode(data, max_pixels=2000).shape == (3, 50, 40)


def test_pillow_s_own_limit_is_lifted_only_for_who_asks(monkeypatch):
    before = Image.MAX_IMAGE_PIXELS
    data = encoded(Image.new("1", (14000, 13000)), "PNG")  # 182 Mpx, over Pillow's limit
    with pytest.raises(ImageError, match="more than max_pixels=178956970"):
        decode(data)
    monkeypatch.setattr("sslight.data.decode.to_rgb", lambda image: np.zeros((1, 1, 3), np.uint8))
    decode(data, max_pixels=200_000_000)
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_truncated_is_named(kind):
    data = encoded(Image.fromarray(noise(40, 40, 3)), kind)
    for part in (0.9, 0.5, 0.1):
        with pytest.raises(ImageError) as caught:
            decode(data[: int(len(data) * part)], "cut.img")
        assert caught.value.id == "cut.img"
        assert caught.value.reason


def test_truncated_jpeg_says_so():
    data = encoded(Image.fromarray(noise(40, 40, 3)), "JPEG")
    with pytest.raises(ImageError, match="truncated"):
        decode(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", r"the file is empty \(0 bytes\)"),
        (b"<html>404</html>", "not an image of a known format: 16 bytes, beginning with b'<html>"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"\0" * 1000, "not an image"),
        (b"\xff\xd8\xff", "."),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not an image"),
    ],
)
def test_what_is_no_image_is_named(data, words):
    with pytest.raises(ImageError, match=words):
        decode(data, "x")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_random_damage_never_escapes_as_another_error():
    rng = random.Random(0)
    for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM"):
        data = encoded(Image.fromarray(smooth()), kind)
        for _ in range(100):
            broken = bytearray(data)
            for _ in range(3):
                broken[rng.randrange(len(broken))] = rng.randrange(256)
            with contextlib.suppress(ImageError):
                assert decode(bytes(broken), max_pixels=10**6).shape[0] == 3


def test_the_error_survives_pickling():
    error = pickle.loads(pickle.dumps(ImageError("a.jpg", "bad")))
    assert (error.id, error.reason, str(error)) == ("a.jpg", "bad", "a.jpg: bad")


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_avif():
    assert decode(encoded(Image.fromarray(smooth()), "AVIF")).shape == (3, 24, 40)


def test_torchvision_s_decoder_is_in_use_where_there_is_one():
    from sslight.data import decode as module

    data = encoded(Image.fromarray(smooth()), "JPEG")
    if module._jpeg_operator() is None:
        pytest.skip("this torchvision has no JPEG decoder")
    assert module._torchvision_jpeg(data) is not None
    assert module._jpeg_header(data) == (40, 24, False)


def real_photos():
    data = Path(os.environ.get("SSLIGHT_DATA", Path(__file__).parents[4] / "shared" / "data"))
    return sorted((data / "photos").glob("*"))


@pytest.mark.skipif(not real_photos(), reason="no real photos (SSLIGHT_DATA)")
def test_real_photos_decode_as_pillow_does():
    grey = 0
    for path in real_photos():
        out = hwc(decode(path.read_bytes(), path.name))
        with Image.open(path) as image:
            grey += image.mode == "L"
            assert np.array_equal(out, np.asarray(image.convert("RGB"))), path.name
    assert grey >= 1


# --- at a fraction of the size ------------------------------------------------------------------


def never(height, width):
    raise AssertionError(f"asked for {height} x {width}")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "CMYK"])
def test_only_ordinary_jpegs_are_asked_about(kind):
    image = Image.fromarray(smooth())
    is_cmyk = kind == "CMYK"
    data = encoded(image.convert("CMYK"), "JPEG") if is_cmyk else encoded(image, kind)
    assert torch.equal(decode_reduced(data, "image", never), decode(data))


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_undivided_is_bit_for_bit_decode_and_asked_upright(orientation):
    exif, asked = Image.Exif(), []
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(smooth(24, 40)), "JPEG", exif=exif)
    found = decode_reduced(data, "image", lambda *size: asked.append(size) or 1)
    assert torch.equal(found, decode(data))
    assert asked == [(40, 24) if orientation == 6 else (24, 40)]


@pytest.mark.parametrize("factor", [1, 4])
def test_broken_files_are_named_at_any_size(factor):
    whole = encoded(Image.fromarray(noise(64, 64, 3)), "JPEG")
    for data, words in ((b"", "empty"), (whole[:900], "truncated"), (b"junk", "known format")):
        with pytest.raises(ImageError, match=rf"^photo: .*{words}"):
            decode_reduced(data, "photo", lambda height, width: factor)
    with pytest.raises(ImageError, match="more than max_pixels=100"):
        decode_reduced(whole, "photo", lambda height, width: factor, max_pixels=100)
