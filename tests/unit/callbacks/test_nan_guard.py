import json
import logging

import pytest

from sslight.callbacks.checkpoint import Checkpoint
from sslight.callbacks.nan_guard import NanGuard, NonFiniteLossError

NAN, INF = float("nan"), float("inf")


def report(folder, step):
    return json.loads((folder / f"nan_step_{step}.json").read_text())


@pytest.mark.parametrize(("factor", "kind"), [(NAN, "nan"), (INF, "inf")])
@pytest.mark.parametrize("every", [1, 4])
def test_names_the_exact_step_and_its_images(kit, tmp_path, factor, kind, every):
    method = kit.Method(losses={4: factor})  # the fifth batch: epoch 1, batch 1
    trainer = kit.trainer(tmp_path, NanGuard(), log_every_n_steps=every)
    with pytest.raises(NonFiniteLossError, match=r"step 5 \(epoch 1, batch 1, rank 0\)"):
        trainer.fit(method, kit.Data())
    found = report(tmp_path, 5)
    assert found["index"] == {"0": list(range(8, 16))}
    assert (found["step"], found["epoch"], found["batch"], found["seed"]) == (5, 1, 1, 0)
    assert kind in found["loss"]
    assert len(list(tmp_path.glob("nan_step_*"))) == 1


def test_accumulated_batches_belong_to_the_step_they_lead_to(kit, tmp_path):
    method = kit.Method(losses={4: NAN})
    trainer = kit.trainer(tmp_path, NanGuard(), accumulate_grad_batches=2)
    with pytest.raises(NonFiniteLossError, match=r"step 3 \(epoch 1, batch 1"):
        trainer.fit(method, kit.Data())  # 3 batches an epoch: steps end after batches 2, 3 | 5, 6


def test_a_step_after_the_last_logging_step_is_found_at_the_epochs_end(kit, tmp_path):
    method = kit.Method(losses={2: NAN})
    with pytest.raises(NonFiniteLossError, match="step 3"):
        kit.trainer(tmp_path, NanGuard(), log_every_n_steps=100).fit(method, kit.Data())


def test_no_checkpoint_is_written_with_spoiled_weights(kit, tmp_path):
    method = kit.Method(losses={4: NAN})
    saver = Checkpoint(every_n_steps=1, keep_last=99, folder=tmp_path)
    options = {"log_every_n_steps": 100, "enable_checkpointing": True}
    with pytest.raises(NonFiniteLossError, match="step 5"):
        kit.trainer(tmp_path, NanGuard(), saver, **options).fit(method, kit.Data())
    assert [p.name for p in sorted(tmp_path.glob("*.ckpt"))][-1] == "step_000000004.ckpt"


def test_the_message_says_where_and_what_to_do(kit, tmp_path):
    with pytest.raises(NonFiniteLossError) as error:
        kit.trainer(tmp_path, NanGuard()).fit(kit.Method(losses={0: NAN}), kit.Data())
    for words in (str(tmp_path / "nan_step_1.json"), "optim.lr", "gradient_clip_val", "precision"):
        assert words in str(error.value)


def test_warns_once_per_onset_and_goes_on(kit, tmp_path, caplog):
    losses = dict.fromkeys([1, 2, 3, 6], NAN)
    method = kit.Method(lr=0.0, losses=losses)
    method.configure_gradient_clipping = lambda *a, **k: method.zero_grad()  # weights stay finite
    with caplog.at_level(logging.WARNING, "sslight"):
        kit.trainer(tmp_path, NanGuard(action="warn")).fit(method, kit.Data())
    assert method.done == 9
    assert [r.getMessage()[:36] for r in caplog.records if r.name == "sslight"] == [
        "The loss was not finite at step 2 (e",
        "The loss was not finite at step 7 (e",
    ]


def test_silent_on_finite_losses(kit, tmp_path, caplog):
    kit.trainer(tmp_path, NanGuard()).fit(kit.Method(), kit.Data())
    assert not list(tmp_path.glob("nan_step_*"))
    assert not [r for r in caplog.records if r.name == "sslight"]


def test_the_indices_are_those_of_the_bad_batch_whatever_its_size(kit, tmp_path):
    method = kit.Method(losses={2: NAN})
    data = kit.Data(n=20)  # batches of 8, 8 and 4
    with pytest.raises(NonFiniteLossError, match="step 3"):
        kit.trainer(tmp_path, NanGuard(), log_every_n_steps=100).fit(method, data)
    assert report(tmp_path, 3)["index"] == {"0": list(range(16, 20))}


def test_losses_do_not_pile_up_without_logging_steps(kit, tmp_path, monkeypatch):
    monkeypatch.setattr("sslight.callbacks.nan_guard._MOST", 2)
    method = kit.Method(losses={0: NAN})
    with pytest.raises(NonFiniteLossError, match="step 1"):
        kit.trainer(tmp_path, NanGuard(), log_every_n_steps=100).fit(method, kit.Data())
    assert method.done == 2


def test_wrong_action_is_named():
    with pytest.raises(ValueError, match="action='die'; give stop or warn"):
        NanGuard(action="die")
