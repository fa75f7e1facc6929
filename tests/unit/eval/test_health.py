"""Health of a store, of samples of it, and of a backbone's views."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import data, resnet
from unit.eval.test_knn_eval import clouds, write

from sslight import metrics
from sslight.eval import Subject
from sslight.eval.health import Health


def test_it_measures_what_sslight_metrics_does_without_labels(tmp_path):
    x = clouds(50, 0)[0]
    subject = Subject(write(tmp_path, {"train": (x, None)}, bad=[3]))
    found = Health(spectrum=(1, 6)).evaluate(subject)
    rows = torch.from_numpy(np.delete(x, 3, axis=0))
    assert found.n == 49
    assert found.metrics == {
        "effective_rank": float(metrics.effective_rank(rows)),
        "rankme": float(metrics.rankme(rows)),
        "alpha_req": float(metrics.alpha_req(rows, first=1, last=6)),
        "uniformity": float(metrics.uniformity(rows)),
        "feature_std": float(metrics.feature_std(rows)),
    }


def test_samples_give_intervals(tmp_path):
    subject = Subject(write(tmp_path, {"train": (clouds(200, 0)[0], None)}))
    found = Health(most=60, draws=3, spectrum=(1, 6)).evaluate(subject).metrics
    assert found["rankme_low"] < found["rankme"] < found["rankme_high"]
    again = Health(most=60, draws=3, spectrum=(1, 6)).evaluate(subject).metrics
    assert again == found


def test_alignment_needs_images(tmp_path):
    torch.manual_seed(0)
    network = resnet()
    subject = Subject(tmp_path / "f", backbone=network, datamodule=data("simclr"))
    found = Health(spectrum=(1, 6)).evaluate(subject)
    assert 0 < found.metrics["alignment_low"] < found.metrics["alignment"] < 2
    (batch,) = subject.views("train", np.arange(8))
    with torch.inference_mode():
        first, second = (network.eval()(view) for view in batch["views"][:2])
    eight = Health(spectrum=(1, 6), alignment_images=16).evaluate(subject).metrics["alignment"]
    assert eight == found.metrics["alignment"]
    assert 0 < float(metrics.alignment(first, second).mean()) < 2
    assert "alignment" not in Health(spectrum=(1, 6), alignment_images=0).evaluate(subject).metrics


@pytest.mark.parametrize("options", [{"most": 1}, {"spectrum": (5, 5)}, {"draws": 0}])
def test_mistakes_are_refused(options):
    with pytest.raises(ValueError, match="health"):
        Health(**options)
