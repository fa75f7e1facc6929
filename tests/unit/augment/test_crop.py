import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from sslight.augment import ViewSpec, small
from sslight.augment.crop import center_crop, cut, random_boxes, resize, whole_boxes
from sslight.augment.draws import uniforms


def image(height, width, channels=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (channels, height, width), dtype=torch.uint8, generator=generator)


def interleaved(planar):
    return planar.permute(1, 2, 0).contiguous().permute(2, 0, 1)


@pytest.mark.parametrize("layout", [lambda x: x, interleaved], ids=["planar", "interleaved"])
@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_resize_of_a_region_is_torchvisions(layout, channels, mode):
    source = layout(image(90, 70, channels))
    ours = resize(source[:, 10:60, 5:66], 48, 48, mode)
    theirs = tv.resized_crop(
        image(90, 70, channels), 10, 5, 50, 61, [48, 48], tv.InterpolationMode(mode), antialias=True
    )
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("shape", [(100, 140), (140, 100), (64, 64), (31, 200), (256, 256)])
def test_center_crop_is_torchvisions(shape):
    ours = center_crop(image(*shape), 64, 56, "bilinear")
    theirs = tv.center_crop(tv.resize(image(*shape), [64], antialias=True), [56, 56])
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize(("side", "size"), [(32, 32), (28, 28), (20, 32), (40, 16)])
def test_every_small_crop_is_torchvisions(side, size):
    boxes = [
        (top, left, h, w)
        for h in range(1, side + 1, 3)
        for w in {1, 2, h // 2 + 1, min(side, h + 3), side}
        for top in {0, (side - h) // 2, side - h}
        for left in {0, side - w}
    ]
    source = image(side, side)
    ours = small.resized_crops(source.expand(len(boxes), -1, -1, -1), torch.tensor(boxes), size)
    for crop, box in zip(ours, boxes, strict=True):
        assert torch.equal(crop, tv.resized_crop(source, *box, [size, size], antialias=True)), box


def test_small_crops_do_not_follow_the_users_matmul_precision():
    source, boxes = image(32, 24).unsqueeze(0), torch.tensor([[3, 1, 17, 21]])
    expected = small.resized_crops(source, boxes, 32)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        assert small._exact_dtype(32, 32) == torch.float64
        assert torch.equal(small.resized_crops(source, boxes, 32), expected)
    finally:
        torch.set_float32_matmul_precision(before)


def test_mixed_sizes_in_one_batch():
    images = [image(32, 32), image(300, 200, seed=1), image(32, 32, seed=2), image(40, 20, seed=3)]
    heights, widths = (torch.tensor([x.shape[k] for x in images]) for k in (1, 2))
    spec = ViewSpec(32)
    boxes = random_boxes(spec, uniforms(0, 0, torch.arange(4), 0, 22), heights, widths)
    views = cut(images, boxes, spec)
    for view, source, box in zip(views, images, boxes.tolist(), strict=True):
        assert torch.equal(view, tv.resized_crop(source, *box, [32, 32], antialias=True))


def test_boxes_lie_inside_even_in_thin_images():
    for height, width in ((1, 1), (1, 500), (500, 1), (7, 300), (224, 224)):
        sides = torch.full((500,), height), torch.full((500,), width)
        boxes = random_boxes(ViewSpec(32), uniforms(0, 0, torch.arange(500), 0, 22), *sides)
        top, left, h, w = boxes.unbind(1)
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 2:] >= 1).all()
        assert (top + h <= height).all()
        assert (left + w <= width).all()


def test_full_scale_on_a_square_leaves_the_pixels_alone():
    source = image(32, 32)
    spec = ViewSpec(32, scale=(1, 1), ratio=(1, 1))
    side = torch.tensor([32])
    boxes = random_boxes(spec, uniforms(0, 0, torch.tensor([3]), 0, 22), side, side)
    assert torch.equal(cut([source], boxes, spec)[0], source)


def test_crop_none_takes_only_its_size():
    spec = ViewSpec(32, crop="none")
    source = image(32, 32)
    side = torch.tensor([32])
    assert torch.equal(cut([source], whole_boxes(side, side), spec)[0], source)
    with pytest.raises(ValueError, match=r"takes images of 32 x 32 pixels, got one of 32 x 31;"):
        cut([image(32, 31)], whole_boxes(side, side), spec)


def test_eval_of_small_images_changes_nothing():
    source = image(32, 32)
    side = torch.tensor([32])
    assert torch.equal(
        cut([source], whole_boxes(side, side), ViewSpec(32, crop="center"))[0], source
    )
