from __future__ import annotations

import pytest
from unit.eval.image_subject import Noted, image_subject

from sslight.errors import RefusedRunError
from sslight.eval import Subject
from sslight.eval.linear_images import LinearImages
from sslight.schedules import Clock


def test_it_asks_for_frozen_heads_on_every_stage(tmp_path):
    trainer = Noted(**{"res5/top1": 0.25, "res5/top5": 0.5, "embedding/top1": 0.75})
    result = LinearImages(epochs=14, seed=3).evaluate(image_subject(tmp_path, trainer))
    ((label, training),) = trainer.asked
    assert label == "linear_images"
    assert training.method["frozen"]
    assert training.method["image_size"] == 16
    stages = [head.partition(":")[0] for head in training.method["heads"]]
    assert stages == ["conv1", "res2", "res3", "res4", "res5", "embedding", "embedding"]
    assert (training.epochs, training.batch_size, training.seed) == (14, 128, 3)
    view, clean = training.views
    assert (view.crop, view.flip, clean.crop, clean.flip) == ("random", 0.5, "center", 0.0)
    assert result.metrics == trainer.metrics
    assert [row["layer"] for row in result.rows] == ["res5", "embedding"]
    low, high = result.intervals["res5/top1"]
    assert low < 0.25 < high
    assert result.n == 30


def test_the_rate_falls_where_vissls_does_whatever_the_length():
    for epochs in (28, 84):
        recipe = LinearImages(epochs=epochs).optim
        rates = [
            recipe.scaled_lr(256)(Clock(step=epoch, total=epochs, per_epoch=1))
            for epoch in range(epochs)
        ]
        drops = [i for i in range(1, epochs) if rates[i] < rates[i - 1]]
        assert drops == [epochs * at // 28 for at in (8, 16, 24)]
        assert rates[0] == pytest.approx(0.01)
        assert rates[-1] == pytest.approx(1e-5)


def test_mistakes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="both count from 1"):
        LinearImages(epochs=0)
    with pytest.raises(ValueError, match="nothing would be held out"):
        LinearImages(test="train")
    for heads, said in (({"res9": "avg"}, "no layer 'res9'"), ({"res5": "avg_k6"}, "larger than")):
        with pytest.raises(RefusedRunError, match=said):
            LinearImages(heads=heads).evaluate(image_subject(tmp_path, Noted()))
    with pytest.raises(RefusedRunError, match="needs a backbone"):
        LinearImages().evaluate(Subject(tmp_path))
