from types import SimpleNamespace

import pytest
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from torchvision.io import read_image

from sslight.callbacks.view_grid import GAP, ViewGrid, draw_grid

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)


def normalised(pixels):
    mean, std = (torch.tensor(s).view(1, 3, 1, 1) for s in (MEAN, STD))
    return (pixels.float() / 255 - mean) / std


def picture(count, size, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, size, size), generator=g, dtype=torch.uint8)


def test_rows_are_images_columns_are_views_and_pixels_come_back():
    first, second = picture(3, 16, 0), picture(3, 16, 1)
    grid = draw_grid([normalised(first), normalised(second)], [(MEAN, STD)] * 2)
    cell = 16 + GAP
    assert grid.dtype == torch.uint8
    assert grid.shape == (3, 3 * cell, 2 * cell)
    for column, views in enumerate((first, second)):
        for row in range(3):
            top, left = row * cell + GAP // 2, column * cell + GAP // 2
            shown = grid[:, top : top + 16, left : left + 16]
            assert torch.equal(shown, views[row])


def test_small_views_are_centred_on_white():
    small = picture(1, 4, 2)
    grid = draw_grid([normalised(picture(1, 10)), normalised(small)], [(MEAN, STD)] * 2)
    assert grid.shape == (3, 12, 24)
    assert torch.equal(grid[:, 4:8, 16:20], small[0])
    assert (grid[:, :4, 12:] == 255).all()


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_any_number_of_channels_is_shown(channels):
    view = torch.rand(2, channels, 6, 6)
    grid = draw_grid([view], [(None, None)])
    shown = grid[:, 1:7, 1:7]
    expected = (view[0] * 255).round().to(torch.uint8)
    assert torch.equal(shown[0], expected[0])
    assert torch.equal(shown[2], expected[2 if channels >= 3 else 0])


def test_unknown_statistics_stretch_the_view():
    grid = draw_grid([torch.linspace(-3, 7, 16).view(1, 1, 4, 4).bfloat16()])
    assert grid[:, 1:5, 1:5].min() == 0
    assert grid[:, 1:5, 1:5].max() == 255


class Run:
    """Starts batches at the callback as a trainer would."""

    def __init__(self, folder, specs, loggers=()):
        data = SimpleNamespace(maker=SimpleNamespace(specs=specs))
        self.trainer = SimpleNamespace(
            is_global_zero=True,
            current_epoch=0,
            global_step=0,
            default_root_dir=folder,
            datamodule=data,
            loggers=list(loggers),
        )
        self.batch = {"views": [normalised(picture(4, 8, i)) for i in range(3)]}

    def start(self, grid, epoch, step, batch_idx=0):
        self.trainer.current_epoch, self.trainer.global_step = epoch, step
        grid.on_train_batch_start(self.trainer, None, self.batch, batch_idx)


SPECS = [SimpleNamespace(mean=MEAN, std=STD, count=2), SimpleNamespace(mean=MEAN, std=STD, count=1)]


def test_writes_png_and_tensorboard_at_due_epochs(tmp_path):
    board = TensorBoardLogger(tmp_path, name="", version="")
    run, grid = Run(tmp_path, SPECS, [board]), ViewGrid(images=2, every_n_epochs=2)
    for epoch in range(4):
        for batch_idx in range(3):
            run.start(grid, epoch, epoch * 3 + batch_idx, batch_idx)
    files = sorted((tmp_path / "views").iterdir())
    assert [f.name for f in files] == ["step_0.png", "step_6.png"]
    image = read_image(str(files[0]))
    assert image.shape == (3, 2 * 10, 3 * 10)
    assert torch.equal(image[:, 1:9, 11:19], picture(4, 8, 1)[0])
    board.experiment.flush()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [image.step for image in events.Images("views")] == [0, 6]
    board.experiment.close()


def test_draws_the_first_epoch_only_by_default_and_on_rank_0_only(tmp_path):
    run, grid = Run(tmp_path, SPECS), ViewGrid()
    run.trainer.is_global_zero = False
    run.start(grid, 0, 0)
    assert not (tmp_path / "views").exists()
    run.trainer.is_global_zero = True
    for epoch in range(3):
        run.start(grid, epoch, epoch)
    assert [f.name for f in (tmp_path / "views").iterdir()] == ["step_0.png"]


def test_says_when_statistics_are_unknown_or_views_missing(tmp_path, caplog):
    run = Run(tmp_path, [])
    run.start(ViewGrid(), 0, 0)
    assert "mean and std of the views are unknown" in caplog.text
    caplog.clear()
    run.batch, grid = {"image": 0}, ViewGrid()
    for epoch in range(2):
        run.start(grid, 0, epoch)
    assert [r.getMessage() for r in caplog.records] == [
        "callback ViewGrid is off: the batch has no views."
    ]
