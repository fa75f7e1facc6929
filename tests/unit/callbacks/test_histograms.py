from __future__ import annotations

import pytest
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sslight.callbacks.histograms import Histograms


def drawn(folder) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"histograms": 0})
    events.Reload()
    return events


def fit(kit, folder, callback, module=None, **options):
    logger = TensorBoardLogger(folder, name="", version="")
    trainer = kit.trainer(folder, callback, logger=logger, **options)
    trainer.fit(module or kit.Method(), datamodule=kit.Data(test=False))
    logger.finalize("success")
    return drawn(folder)


def test_parameters_and_gradients_every_n_steps(kit, tmp_path):
    events = fit(kit, tmp_path, Histograms(every_n_steps=4), epochs=3)
    tags = events.Tags()["histograms"]
    names = [f"backbone.{i}.{kind}" for i in (0, 1) for kind in ("weight", "bias")]
    assert sorted(tags) == sorted(f"{k}/{n}" for n in names for k in ("parameters", "gradients"))
    for tag in tags:
        assert [event.step for event in events.Histograms(tag)] == [4, 8]


def test_values_are_those_of_the_step(kit, tmp_path):
    seen = {}

    class Method(kit.Method):
        def on_before_optimizer_step(self, optimizer):
            grad = self.backbone[0].weight.grad
            seen[self.trainer.global_step + 1] = float(grad.double().sum())

        def on_train_batch_end(self, outputs, batch, batch_idx):
            seen["weight"] = float(self.backbone[0].weight.detach().double().sum())

    events = fit(kit, tmp_path, Histograms(every_n_steps=9), Method(), epochs=3)
    (gradient,) = events.Histograms("gradients/backbone.0.weight")
    (weight,) = events.Histograms("parameters/backbone.0.weight")
    assert gradient.histogram_value.sum == pytest.approx(seen[9], abs=1e-5)
    assert weight.histogram_value.sum == pytest.approx(seen["weight"], abs=1e-5)


def test_activations_by_name_and_no_hook_stays(kit, tmp_path):
    module = kit.Method()
    callback = Histograms(3, parameters=False, gradients=False, activations=r"^backbone\.1$")
    events = fit(kit, tmp_path, callback, module, epochs=2)
    assert events.Tags()["histograms"] == ["activations/backbone.1"]
    assert [e.step for e in events.Histograms("activations/backbone.1")] == [3, 6]
    assert events.Histograms("activations/backbone.1")[0].histogram_value.num == 2 * 8 * kit.width
    assert not any(m._forward_hooks for m in module.modules())


def test_under_accumulation_a_step_is_drawn_once(kit, tmp_path):
    callback = Histograms(1, activations="backbone")
    events = fit(kit, tmp_path, callback, epochs=2, accumulate_grad_batches=3)
    for tag in events.Tags()["histograms"]:
        assert [event.step for event in events.Histograms(tag)] == [1, 2]


def test_what_is_not_finite_is_left_out(kit, tmp_path):
    module = kit.Method(losses={1: float("nan")})
    events = fit(kit, tmp_path, Histograms(1, parameters=False), module, epochs=1)
    assert [e.step for e in events.Histograms("gradients/backbone.0.weight")] == [1]


def test_training_is_the_same_with_it(kit, tmp_path):
    modules = []
    for name, callbacks in (("on", [Histograms(1, activations="backbone")]), ("off", [])):
        logger = TensorBoardLogger(tmp_path / name, name="", version="")
        modules.append(kit.Method())
        trainer = kit.trainer(tmp_path / name, *callbacks, logger=logger, epochs=2)
        trainer.fit(modules[-1], datamodule=kit.Data(test=False))
    on, off = (module.state_dict() for module in modules)
    assert all(torch.equal(on[key], off[key]) for key in on)


def test_off_without_tensorboard(kit, tmp_path, caplog):
    callback = Histograms(1)
    kit.trainer(tmp_path, callback, epochs=1).fit(kit.Method(), datamodule=kit.Data())
    assert callback.off
    assert caplog.text.count("Histograms is off: there is no TensorBoardLogger") == 1


def test_refusals(kit, tmp_path):
    with pytest.raises(ValueError, match="every_n_steps=0"):
        Histograms(0)
    with pytest.raises(ValueError, match=r"'layer9' matches no module.*backbone.0"):
        fit(kit, tmp_path, Histograms(activations="layer9"))
