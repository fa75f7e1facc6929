from __future__ import annotations

from unit.eval.image_subject import Noted, image_subject

from sslight.eval.finetune import Finetune
from sslight.optim import Recipe


def test_everything_is_handed_on(tmp_path):
    trainer = Noted()
    options = {"mixup": 0.8, "cutmix": 1.0, "mix_prob": 0.5, "label_smoothing": 0.1}
    protocol = Finetune(
        epochs=3, batch_size=64, layer_decay=0.7, head_lr=0.5, image_size=24, **options
    )
    result = protocol.evaluate(image_subject(tmp_path, trainer))
    ((label, training),) = trainer.asked
    assert label == "finetune"
    assert training.method == {**options, "multi_label": False}
    assert (training.optim.layer_decay, training.optim.head_lr) == (0.7, 0.5)
    assert [view.size for view in training.views] == [24, 24]
    assert training.rows is None
    assert result.metrics == {"top1": 0.5, "top5": 0.9}
    assert set(result.intervals) == {"top1", "top5"}


def test_a_recipe_replaces_the_rates():
    recipe = Recipe(optimizer="adamw", lr=1e-3, layer_decay=0.65)
    assert Finetune(optim=recipe, lr=9.0).optim is recipe
