from __future__ import annotations

import torch
from torchvision.io import read_image

from sslight.augment import ViewSpec, make_views
from sslight.doctor.views import draw_sheet


def test_the_first_column_is_the_image_and_the_rest_its_views(folder, picture, tmp_path):
    red = torch.zeros(3, 16, 16, dtype=torch.uint8)
    red[0] = 200
    source = folder("train", {"a.png": red, "broken.png": b"junk"})
    maker = make_views([ViewSpec(size=16, count=2, crop="none")])
    assert draw_sheet(source, maker, tmp_path / "new" / "sheet.png") == 1
    sheet = read_image(str(tmp_path / "new" / "sheet.png"))
    cell, times = 18, 6  # a gap of 2 pixels; enlarged to 96 pixels or more
    assert sheet.shape == (3, cell * times, 3 * cell * times)
    for column in range(3):
        middle = sheet[:, cell * times // 2, column * cell * times + cell * times // 2]
        assert (middle.int() - torch.tensor([200, 0, 0])).abs().max() <= 1


def test_images_of_any_shape_keep_theirs(folder, tmp_path):
    wide = torch.zeros(3, 10, 40, dtype=torch.uint8)
    maker = make_views("simclr", size=96)
    assert draw_sheet(folder("train", {"a.png": wide}), maker, tmp_path / "s.png") == 1
    column = read_image(str(tmp_path / "s.png"))[:, :, 48]
    assert column[:, 0].tolist() == [255] * 3  # white above a wide image
    assert column[:, 49].tolist() == [0] * 3


def test_no_image_no_file(folder, tmp_path):
    source = folder("train", {"broken.png": b"junk"})
    assert draw_sheet(source, make_views("simclr", size=32), tmp_path / "s.png") == 0
    assert not (tmp_path / "s.png").exists()
