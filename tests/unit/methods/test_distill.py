from __future__ import annotations

import shutil

import pytest
import tiny
import torch
from torch import nn

import sslight
from sslight.augment.presets import PRESETS
from sslight.checkpoints import save_backbone
from sslight.data.datamodule import SSLDataModule
from sslight.data.sources.shapes import Shapes
from sslight.errors import RefusedRunError
from sslight.methods.distill import Distill

CONFIG = """
method: {method}
backbone: {{name: resnet10, stem: small, width: {width}}}
data:
  train: {{name: shapes, num_images: 32, size: 16}}
  test: {{name: shapes, num_images: 8, size: 16}}
  views: {{name: supervised, size: 16}}
  batch_size: 16
  workers: 0
optim: {{lr: {{name: constant, value: 0.1}}}}
trainer: {{max_epochs: 2, accelerator: cpu}}
"""


def net(width: int = 8) -> nn.Module:
    torch.manual_seed(width)
    return sslight.backbone("resnet10", stem="small", width=width)


def run(folder, name: str, method: str, width: int = 8, *overrides: str):
    config = folder / f"{name}.yaml"
    config.write_text(CONFIG.format(method=method, width=width))
    return sslight.fit(config, [f"run_dir={folder / name}", *overrides])


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A supervised run, twice as wide as the students."""
    folder = tmp_path_factory.mktemp("teacher")
    return run(folder, "big", "{name: supervised}", 16)


@pytest.mark.parametrize("kind", ["features", "similarities", "soft"])
def test_a_run_teaches_another_one(teacher, tmp_path, kind):
    sizes = "hidden_dim: 16, queue_size: 24"
    method = f"{{name: distill, teacher: {teacher.run_dir}, kind: {kind}, {sizes}}}"
    result = run(tmp_path, "small", method)
    images = torch.randn(3, 3, 16, 16)
    theirs = teacher.method.eval()
    expected = theirs.predict(images) if kind == "soft" else theirs.backbone(images)
    torch.testing.assert_close(result.method.teacher(images), expected)
    assert ("val/top1" in result.metrics) == (kind == "soft")
    loaded = sslight.load_backbone(result.run_dir)
    torch.testing.assert_close(loaded(images), result.method.eval().backbone(images))
    if kind == "soft":  # its student can teach in turn
        again = Distill(net(), teacher=str(result.run_dir), kind="soft")
        again.on_data(None, None)
        torch.testing.assert_close(again.teacher(images), result.method.predict(images))


@pytest.mark.parametrize("name", ["swav", "dino"])
def test_a_run_with_prototypes_teaches_another_one(tmp_path, name):
    """Its scores are those of what it evaluates, and nothing of it moves."""
    small = {"swav": "num_prototypes: 6", "dino": "out_dim: 6"}[name]
    views = "data.views={name: simclr, size: 16}"
    method = f"{{name: {name}, hidden_dim: 16, {small}}}"
    theirs = run(tmp_path, "big", method, 16, views).method.eval()
    method = f"{{name: distill, teacher: {tmp_path / 'big'}, kind: prototypes, hidden_dim: 16}}"
    result = run(tmp_path, "small", method)
    images = torch.randn(3, 3, 16, 16)
    expected = theirs.prototype_head(theirs.eval_backbone(images))
    torch.testing.assert_close(result.method.teacher(images), expected)
    backbone, head = result.method.teacher.network
    tiny.assert_same(tiny.snapshot(backbone), tiny.snapshot(theirs.eval_backbone))
    tiny.assert_same(tiny.snapshot(head), tiny.snapshot(theirs.prototype_head))


def test_a_run_without_prototypes_cannot_teach_them(teacher, tmp_path):
    method = Distill(net(), teacher=str(teacher.run_dir), kind="prototypes")
    with pytest.raises(RefusedRunError, match="Supervised has no prototypes; give a run of swav"):
        method.on_data(None, None)
    method = Distill(net(), teacher=str(tmp_path / "gone"), kind="prototypes")
    with pytest.raises(RefusedRunError, match="is no run folder, and prototypes need a whole run"):
        method.on_data(None, None)


def test_a_run_goes_on_with_the_teacher_of_its_checkpoint(teacher, tmp_path):
    """Another file in its place is not looked at; no file is an error that says so."""
    source = tmp_path / "teacher"
    shutil.copytree(teacher.run_dir, source)
    method = f"{{name: distill, teacher: {source}, hidden_dim: 16}}"
    straight = run(tmp_path, "straight", method)
    run(tmp_path, "cut", method, 8, "trainer.max_epochs=1")
    save_backbone(net(16), source / "backbone")
    resumed = sslight.fit(
        tmp_path / "cut.yaml", [f"run_dir={tmp_path / 'cut'}"], accept=["trainer.max_epochs"]
    )
    tiny.assert_same(tiny.snapshot(straight.method), tiny.snapshot(resumed.method))
    shutil.rmtree(source)
    with pytest.raises(RefusedRunError, match=r"could not be loaded\. \(A run that goes on needs"):
        sslight.fit(
            tmp_path / "cut.yaml",
            [f"run_dir={tmp_path / 'cut'}", "trainer.max_epochs=3"],
            accept=["trainer.max_epochs"],
        )


def test_without_a_teacher_the_student_learns_from_its_start():
    method = tiny.build("distill")
    start = tiny.snapshot(method.backbone)
    tiny.fit(method, "distill")
    assert not torch.equal(method.backbone.conv1.weight, start["conv1.weight"])
    tiny.assert_same(tiny.snapshot(method.teacher.network), start)


def test_the_teacher_is_not_trained():
    method = Distill(net(), teacher=net(16), hidden_dim=16)
    method.training_loss({"views": [torch.randn(4, 3, 16, 16)]}).loss.backward()
    for name, parameter in method.named_parameters():
        assert (parameter.grad is None) == name.startswith("teacher."), name
    assert not method.train().teacher.network.training
    grouped = {id(p) for group in method.param_groups() for p in group["params"]}
    assert not grouped & {id(p) for p in method.teacher.parameters()}


def test_comparing_images_makes_accumulation_approximate():
    assert Distill(net(), kind="similarities", queue_size=8).accumulation == "approximate"
    assert Distill(net()).accumulation == "exact"
    for rounds, expected in ((3, "approximate"), (0, "exact")):
        method = Distill(net(), kind="prototypes", teacher=net(16), sinkhorn_iterations=rounds)
        assert method.accumulation == expected


def test_it_learns_what_the_teacher_knows():
    method = Distill(net(), teacher=net(16), hidden_dim=32)
    optimizer = torch.optim.Adam((p for p in method.parameters() if p.requires_grad), 0.01)
    images = torch.randn(8, 3, 16, 16)
    losses = []
    for _ in range(30):
        loss = method.training_loss({"views": [images]}).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


def test_views_of_another_scale_are_refused(teacher):
    views = PRESETS["supervised"](16, mean=(0.5,), std=(0.5,))
    data = SSLDataModule(Shapes(16, size=16), views=views, batch_size=8, workers=0)
    with pytest.raises(RefusedRunError, match=r"Write the teacher's into data\.views"):
        tiny.trainer().fit(Distill(net(), teacher=str(teacher.run_dir)), datamodule=data)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="kind is 'hard'; use one of"):
        Distill(net(), kind="hard")
    with pytest.raises(ValueError, match="kind soft learns from a teacher's classes; give it"):
        Distill(net(), kind="soft")
    with pytest.raises(ValueError, match="prototypes learns from a teacher's prototypes; give it"):
        Distill(net(), kind="prototypes")
    with pytest.raises(ValueError, match="sinkhorn_iterations 0 or more"):
        Distill(net(), sinkhorn_iterations=-1)
    with pytest.raises(ValueError, match="alpha is 2, use 0 to 1"):
        Distill(net(), alpha=2)
    with pytest.raises(ValueError, match="temperatures are above 0"):
        Distill(net(), kind="similarities", teacher_temperature=0)
