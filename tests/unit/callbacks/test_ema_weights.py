from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from sslight.callbacks.checkpoint import Checkpoint
from sslight.callbacks.ema_weights import EmaWeights, evaluation_weights


class Spy(pl.Callback):
    """Weights after each optimizer step, and what validation sees."""

    def __init__(self):
        self.steps, self.step = [], 0

    def on_train_batch_end(self, trainer, pl_module, *_):
        if trainer.global_step != self.step:
            self.step = trainer.global_step
            self.steps.append({k: v.clone() for k, v in pl_module.state_dict().items()})


@pytest.fixture(autouse=True)
def saved(monkeypatch):
    files = []

    def save_backbone(backbone, path, meta, view=None):
        weights = {k: v.clone() for k, v in backbone.state_dict().items()}
        files.append((weights, path, meta))

    monkeypatch.setattr("sslight.checkpoints.save_backbone", save_backbone)
    return files


def averaged_by_hand(start, steps, decay, warm_up=False, every=1):
    average, updates = {k: v.clone() for k, v in start.items()}, 0
    for number, weights in enumerate(steps, 1):
        if number % every:
            continue
        updates += 1
        d = min(decay, (1 + updates) / (10 + updates)) if warm_up else decay
        average = {k: d * average[k].double() + (1 - d) * weights[k].double() for k in average}
    return average


@pytest.mark.parametrize(
    "options",
    [{"warm_up": False}, {"warm_up": True}, {"warm_up": False, "every_n_steps": 2}],
)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_equals_the_recursion(kit, tmp_path, options, accumulate):
    method, ema, spy = kit.Method(), EmaWeights(0.8, **options), Spy()
    start = {k: v.clone() for k, v in method.state_dict().items() if v.is_floating_point()}
    trainer = kit.trainer(tmp_path, spy, ema, accumulate_grad_batches=accumulate)
    trainer.fit(method, kit.Data())
    by_hand = averaged_by_hand(
        start, spy.steps, 0.8, options["warm_up"], options.get("every_n_steps", 1)
    )
    assert ema._average.keys() == by_hand.keys()
    for name, value in ema._average.items():
        torch.testing.assert_close(value.double(), by_hand[name], rtol=1e-5, atol=1e-6)
    assert len(spy.steps) == (9 if accumulate == 1 else 6)


def test_only_weights_and_batch_norm_are_averaged(kit):
    method = kit.Method()
    method.register_buffer("queue", torch.randn(4, 4))
    method.teacher = nn.Linear(3, 3).requires_grad_(False)
    ema = EmaWeights()
    ema.on_train_start(type("T", (), {"global_step": 0})(), method)
    assert not {name for name in ema._average if "queue" in name or "teacher" in name}
    assert "backbone.1.running_var" in ema._average
    frozen = kit.Method()
    frozen.backbone.requires_grad_(False)  # a teacher that evaluation uses
    ema.on_train_start(type("T", (), {"global_step": 0})(), frozen)
    assert "backbone.0.weight" in ema._average


def test_16_bit_weights_are_averaged_in_float32(kit):
    """1 + 0.001 is 1 in bfloat16, however often it is added."""
    method, ema = kit.Method(), EmaWeights(0.999, warm_up=False)
    weight = method.backbone[0].weight
    nn.init.ones_(weight)
    method.bfloat16()
    trainer = SimpleNamespace(global_step=0)
    ema.on_train_start(trainer, method)
    nn.init.constant_(weight, 2.0)
    for step in range(1, 1001):
        trainer.global_step = step
        ema.on_train_batch_end(trainer, method, None, None, 0)
    average = ema._average["backbone.0.weight"]
    torch.testing.assert_close(average, torch.full_like(average, 2 - 0.999**1000))
    assert average.dtype == torch.float32
    with ema.swapped(method):
        assert torch.equal(weight, average.bfloat16())
    assert (weight == 2).all()


def test_validation_sees_the_average_and_training_gets_its_weights_back(kit, tmp_path):
    def run(*callbacks):
        method = kit.Method()
        kit.trainer(tmp_path, *callbacks, Spy()).fit(method, kit.Data())
        return method

    ema = EmaWeights(0.9, evaluate=True)
    plain, averaged = run(), run(ema)
    assert all(
        torch.equal(value, averaged.state_dict()[name])
        for name, value in plain.state_dict().items()
    )
    assert not torch.equal(plain.seen_weights[-1], averaged.seen_weights[-1])
    assert torch.equal(averaged.seen_weights[-1], ema._average["backbone.0.weight"])
    only_training = run(EmaWeights(0.9, evaluate=False))
    assert torch.equal(only_training.seen_weights[-1], plain.seen_weights[-1])


def test_weights_come_back_when_validation_fails(kit, tmp_path):
    method, ema, spy = kit.Method(), EmaWeights(0.9, evaluate=True), Spy()

    def fail(*_):
        raise OSError("a broken image")

    method.validation_step = fail
    with pytest.raises(OSError, match="a broken image"):
        kit.trainer(tmp_path, spy, ema).fit(method, kit.Data())
    assert all(torch.equal(v, spy.steps[-1][k]) for k, v in method.state_dict().items())
    assert not torch.equal(method.backbone[0].weight, ema._average["backbone.0.weight"])


def test_nested_swaps_restore_bit_for_bit(kit, tmp_path):
    method, ema = kit.Method(), EmaWeights(0.9, evaluate=True)
    trainer = kit.trainer(tmp_path, ema, epochs=1)
    trainer.fit(method, kit.Data())
    before = {k: v.clone() for k, v in method.state_dict().items()}

    def fail_inside():
        with evaluation_weights(trainer, method), ema.swapped(method):
            assert torch.equal(method.backbone[0].weight, ema._average["backbone.0.weight"])
            raise KeyError

    with pytest.raises(KeyError):
        fail_inside()
    assert all(torch.equal(v, before[k]) for k, v in method.state_dict().items())


def test_writes_the_averaged_backbone(kit, tmp_path, saved):
    method, ema = kit.Method(), EmaWeights(0.9)
    kit.trainer(tmp_path, ema).fit(method, kit.Data())
    ((weights, path, meta),) = saved
    assert path == tmp_path / "backbone_ema.safetensors"
    assert meta == {"weights": "ema", "decay": 0.9, "updates": 9, "step": 9}
    assert torch.equal(weights["0.weight"], ema._average["backbone.0.weight"])
    assert not torch.equal(weights["0.weight"], method.backbone[0].weight)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_resumed_equals_straight(kit, tmp_path, accumulate):
    def run(resume=None):
        ema = EmaWeights(0.9, every_n_steps=2, evaluate=True)
        saver = Checkpoint(every_n_steps=1, keep_last=99, folder=tmp_path)
        options = {"enable_checkpointing": True, "accumulate_grad_batches": accumulate}
        trainer = kit.trainer(tmp_path, ema, saver, **options)
        trainer.fit(kit.Method(), kit.Data(), ckpt_path=resume, weights_only=True)
        return ema.state_dict()

    straight = run()
    for step in (1, 3, 4):
        again = run(tmp_path / f"step_{step:09d}.ckpt")
        assert again["updates"] == straight["updates"]
        assert all(torch.equal(v, again["average"][k]) for k, v in straight["average"].items())


def test_a_second_fit_starts_anew(kit, tmp_path):
    ema = EmaWeights(0.9)
    for _ in range(2):
        kit.trainer(tmp_path, ema, epochs=1).fit(kit.Method(), kit.Data())
        assert ema.updates == 3


def test_an_average_of_another_model_is_refused(kit):
    ema = EmaWeights()
    ema.load_state_dict({"average": {"x": torch.zeros(1)}, "updates": 1, "last_step": 1})
    with pytest.raises(ValueError, match="average and the model differ in"):
        ema.on_train_start(type("T", (), {"global_step": 1})(), kit.Method())


@pytest.mark.parametrize("bad", [{"decay": 1.0}, {"decay": -0.1}, {"every_n_steps": 0}])
def test_wrong_options_are_named(bad):
    with pytest.raises(ValueError, match=f"ema_weights: got .*{next(iter(bad))}"):
        EmaWeights(**bad)
