from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

import sslight
from sslight.augment.presets import PRESETS
from sslight.backbones.inputs import lightness
from sslight.checkpoints import init_backbone
from sslight.data.datamodule import SSLDataModule
from sslight.data.sources.shapes import Shapes
from sslight.errors import RefusedRunError
from sslight.methods.colorization import Colorization
from sslight.modules.lab import rgb_to_lab

CONFIG = """
method: {{name: colorization, decoder_dim: 8}}
backbone: {{name: resnet10, stem: small, width: 8, in_channels: {channels}}}
data:
  train: {{name: shapes, num_images: 32, size: 16}}
  test: {{name: shapes, num_images: 8, size: 16}}
  views: {{name: colorization, size: 16}}
  batch_size: 16
  workers: 0
optim: {{lr: 0.1}}
trainer: {{max_epochs: 1, accelerator: cpu}}
"""


def build(**options) -> Colorization:
    torch.manual_seed(0)
    return Colorization(sslight.backbone("resnet10", width=8, stem="small"), **options)


def test_the_backbone_cannot_see_colours():
    method = build(decoder_dim=8).eval()
    images = torch.rand(3, 3, 16, 16)
    L = rgb_to_lab(images)[:, :1]
    y = ((L + 16) / 116) ** 3
    grey = (1.055 * y.clamp(min=0.0032) ** (1 / 2.4) - 0.055).expand(-1, 3, -1, -1)
    output = method.training_loss({"views": [images]})
    torch.testing.assert_close(output.embedding, method.eval_backbone(images))
    torch.testing.assert_close(method.eval_backbone(grey), output.embedding, rtol=1e-3, atol=1e-3)
    assert method.training_loss({"views": [grey]}).loss != output.loss


def test_grey_images_are_all_one_bin():
    method = build(decoder_dim=8).train()
    grey = torch.rand(2, 1, 16, 16).expand(-1, 3, -1, -1)
    method.training_loss({"views": [grey]})
    at = (method.bins.bins == 0).all(1)
    assert method.bins.counts[at] == method.bins.counts.sum() == 2 * 4 * 4


def test_nothing_is_counted_without_training():
    method = build(decoder_dim=8)
    images = torch.rand(2, 3, 16, 16)
    method.eval().training_loss({"views": [images]})
    with torch.no_grad():
        method.train().training_loss({"views": [images]})
    assert method.bins.counts.sum() == 0


def test_it_learns_the_colours_of_a_few_images():
    method = build(decoder_dim=32, uniform=1.0).train()
    generator = torch.Generator().manual_seed(0)
    images = (
        torch.rand(4, 3, 4, 4, generator=generator).repeat_interleave(4, 2).repeat_interleave(4, 3)
    )
    optimizer = torch.optim.Adam(method.parameters(), 0.01)
    losses = []
    for _ in range(40):
        output = method.training_loss({"views": [images]})
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        losses.append(output.loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert output.logs["accuracy"] > 0.6


def test_normalised_views_are_refused():
    data = SSLDataModule(
        Shapes(16, size=16), views=PRESETS["supervised"](16), batch_size=8, workers=0
    )
    with pytest.raises(RefusedRunError, match=r"views are normalised.*name: colorization"):
        tiny.trainer().fit(build(), datamodule=data)
    data = SSLDataModule(
        Shapes(16, size=16), views=PRESETS["colorization"](16), eval_view=PRESETS["eval"](16)[0],
        batch_size=8, workers=0,
    )  # fmt: skip
    with pytest.raises(RefusedRunError, match=r"data\.eval_view"):
        tiny.trainer().fit(build(), datamodule=data)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="uniform is 0 "):
        build(uniform=0)
    with pytest.raises(ValueError, match="no layer 'res9'"):
        build(layer="res9")


@pytest.fixture(scope="module", params=[1, 3])
def run(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("colorization")
    config = folder / "colorization.yaml"
    config.write_text(CONFIG.format(channels=request.param))
    return config, sslight.fit(config, [f"run_dir={folder / 'run'}"])


def test_the_run_gives_the_features_of_the_evaluated_backbone(run):
    """From the exported file, from the checkpoint, and through extract."""
    config, result = run
    source = result.data.source("test")
    images = [source.load(i) for i in range(8)]
    pixels = torch.stack(images).float() / 255
    with torch.no_grad():
        expected = result.method.eval().eval_backbone(pixels)
    channels = result.method.backbone.conv1.in_channels
    plain = sslight.backbone("resnet10", stem="small", width=8, in_channels=channels).eval()
    plain.load_state_dict(result.method.backbone.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(plain(lightness(pixels, channels)), expected)

    checkpoint = next(Path(result.run_dir).glob("checkpoints/*.ckpt"))
    for where in (result.run_dir, checkpoint):
        loaded = sslight.load_backbone(where)
        assert loaded.view.mean is None
        torch.testing.assert_close(loaded.embed(images), expected)
    twin = copy.deepcopy(sslight.load_backbone(result.run_dir))
    torch.testing.assert_close(twin.embed(images), expected)
    store = sslight.extract(config, [f"run_dir={result.run_dir}"])
    stored = torch.from_numpy(np.array(store["test"].array()))
    torch.testing.assert_close(stored.float(), expected, rtol=1e-3, atol=1e-3)


def test_init_from_the_run_says_what_the_weights_have_seen(run):
    _, result = run
    channels = result.method.backbone.conv1.in_channels
    plain = sslight.backbone("resnet10", stem="small", width=8, in_channels=channels)
    report = init_backbone(plain, result.run_dir)
    assert report.complete
    assert "trained on the lightness of RGB images" in str(report)
    assert "trained on" not in str(init_backbone(result.method.backbone, result.run_dir))
