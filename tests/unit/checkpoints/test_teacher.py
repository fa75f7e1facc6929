from __future__ import annotations

import pytest
import torch
from torch import nn

import sslight
from sslight.augment.presets import PRESETS
from sslight.checkpoints import method_record, save_backbone
from sslight.checkpoints.teacher import check_classes, check_scale, load_classifier, load_teacher
from sslight.errors import RefusedRunError
from sslight.methods.supervised import Supervised

VIEW = PRESETS["eval"](16)[0]


def checkpoint(folder, method) -> None:
    (folder / "checkpoints").mkdir(parents=True)
    content = {"state_dict": method.state_dict(), "sslight": method_record(method, VIEW)}
    torch.save(content, folder / "checkpoints" / "step_00000001.ckpt")
    save_backbone(method.eval_backbone, folder / "backbone", view=VIEW)


@pytest.fixture
def run(tmp_path):
    torch.manual_seed(0)
    net = sslight.backbone("resnet10", stem="small", width=8)
    method = Supervised(net, num_classes=5).eval()
    checkpoint(tmp_path / "run", method)
    return tmp_path / "run", method


def test_a_classifier_comes_back_whole(run):
    folder, method = run
    images = torch.randn(3, 3, 16, 16)
    for source in (folder, next(folder.glob("checkpoints/*.ckpt"))):
        loaded = load_classifier(source)
        assert loaded.embed_dim == 5
        assert loaded.view == VIEW
        torch.testing.assert_close(loaded(images), method.predict(images))
    torch.testing.assert_close(load_teacher(str(folder), "classes")(images), loaded(images))
    torch.testing.assert_close(load_teacher(str(folder))(images), method.backbone(images))


def test_what_is_no_classifier_is_refused(run, tmp_path):
    folder, method = run
    with pytest.raises(ValueError, match="holds no linear classifier"):
        load_classifier(folder / "backbone.safetensors")
    with pytest.raises(FileNotFoundError, match="no run folder or checkpoint"):
        load_classifier(tmp_path / "nowhere")
    method.head = nn.Sequential(nn.Linear(64, 5))
    checkpoint(tmp_path / "other", method)
    with pytest.raises(RefusedRunError, match=r"could not be loaded.*holds no linear classifier"):
        load_teacher(tmp_path / "other", "classes")


def test_a_teacher_that_is_gone_is_named(tmp_path):
    with pytest.raises(RefusedRunError, match=r"'gone' could not be loaded\. \(A run that goes on"):
        load_teacher("gone")


def test_views_of_another_scale_are_refused():
    check_scale(None, VIEW)
    check_scale(VIEW, PRESETS["supervised"](32)[0])
    with pytest.raises(RefusedRunError, match=r"mean .*0\.485.* the views have None and None"):
        check_scale(VIEW, PRESETS["colorization"](32)[0])


def test_more_classes_than_the_teacher_knows_are_refused():
    check_classes(10, None)
    check_classes(10, 10)
    with pytest.raises(RefusedRunError, match="has 12 classes, the teacher tells 10 apart"):
        check_classes(10, 12)
