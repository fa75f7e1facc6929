from __future__ import annotations

import logging

import pytest
import tiny
import torch
from ranks import run_ranks
from torch import nn

import sslight
from sslight import distributed as d
from sslight.augment.draws import seed_of
from sslight.errors import RefusedRunError
from sslight.features.compute import dataset_features
from sslight.losses.classification import cross_entropy
from sslight.methods.clusterfit import _STREAM, ClusterFit
from sslight.modules.feature_clusters import feature_clusters
from sslight.schedules import Clock


def build(**options: object) -> ClusterFit:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return ClusterFit(net, **{"num_clusters": 3, "kmeans_iterations": 5, **options})


def clouds() -> torch.Tensor:
    """Features of three kinds of images, and of one that cannot be read."""
    kinds = torch.eye(6)[torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2])]
    scales = torch.arange(1.0, 10)[:, None]
    noise = 0.01 * torch.randn(9, 6, generator=torch.Generator().manual_seed(0))
    return torch.cat([scales * (kinds + noise), torch.full((1, 6), torch.nan)])


def clustered(method: ClusterFit, monkeypatch: pytest.MonkeyPatch) -> ClusterFit:
    monkeypatch.setattr(ClusterFit, "dataset_features", lambda self, split: clouds())
    method.on_data(10, None)
    method.before_epoch(Clock(0, 10, 5))
    return method


@pytest.mark.parametrize("pca_dim", [None, 2])
def test_images_are_clustered_by_direction(pca_dim, monkeypatch):
    for seed in range(20):  # k-means may start with two centroids in one cloud
        method = build(pca_dim=pca_dim)
        method.seed = seed
        ids = clustered(method, monkeypatch).assignments[:9].view(3, 3)
        if len(ids[0].unique()) == 3:
            break
    assert torch.equal(ids, ids[:1].expand(3, 3))
    assert len(ids[0].unique()) == 3


def test_an_image_that_cannot_be_read_has_no_cluster(monkeypatch):
    method = clustered(build(), monkeypatch)
    assert method.assignments[9] == -1
    assert (method.assignments[:9] >= 0).all()


@pytest.mark.parametrize("reset", [True, False])
def test_what_was_loaded_is_clustered_and_then_reset(reset, monkeypatch):
    method, seen = build(reset=reset), []
    with torch.no_grad():
        method.backbone[0].weight.add_(1)  # as `init` does
    loaded = tiny.snapshot(method.backbone)

    def features(self: ClusterFit, split: str) -> torch.Tensor:
        seen.append(tiny.snapshot(self.backbone))
        return clouds()

    monkeypatch.setattr(ClusterFit, "dataset_features", features)
    method.on_data(10, None)
    method.before_epoch(Clock(0, 10, 5))
    tiny.assert_same(seen[0], loaded)
    after = tiny.snapshot(build().backbone) if reset else loaded
    tiny.assert_same(tiny.snapshot(method.backbone), after)


def _reset_on_a_rank() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The weights that this rank drew, and those it has after clustering."""
    torch.manual_seed(d.rank())
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    method = ClusterFit(net, num_clusters=3, kmeans_iterations=2)
    drawn = tiny.snapshot(method.backbone)
    for value in method.state_dict().values():
        d.broadcast(value)  # as DDP does when training starts
    method.dataset_features = lambda split: clouds()
    method.on_data(10, None)
    method.before_epoch(Clock(0, 10, 5))
    return drawn, tiny.snapshot(method.backbone)


@pytest.mark.ranks
def test_ranks_that_drew_different_weights_go_back_to_those_of_rank_0():
    (first, one), (second, two) = run_ranks(2, _reset_on_a_rank)
    assert not torch.equal(first["0.weight"], second["0.weight"])
    tiny.assert_same(one, first)
    tiny.assert_same(two, first)


def test_clusters_are_found_once(monkeypatch):
    method = clustered(build(), monkeypatch)
    monkeypatch.setattr(ClusterFit, "dataset_features", lambda self, split: pytest.fail("again"))
    with torch.no_grad():
        method.backbone[0].weight.add_(1)
    trained = tiny.snapshot(method)
    method.before_epoch(Clock(5, 10, 5))
    method.before_epoch(Clock(0, 10, 5))  # another fit of the same method
    other = build()
    other.on_data(10, None)
    other.load_state_dict(trained)
    other.before_epoch(Clock(0, 10, 5))
    tiny.assert_same(tiny.snapshot(method), trained)
    tiny.assert_same(tiny.snapshot(other), trained)


def test_loss_is_the_cross_entropy_with_each_images_cluster(monkeypatch):
    method = clustered(build(), monkeypatch)
    views, index = list(torch.randn(2, 4, 3, 8, 8)), torch.tensor([9, 2, 0, 1])
    output = method.training_loss({"views": views, "index": index})
    embedding = method.backbone(torch.cat(views))
    torch.testing.assert_close(output.embedding, embedding)
    target = method.assignments[index].repeat(2)
    assert (target == -1).sum() == 2
    torch.testing.assert_close(output.loss, cross_entropy(method.head(embedding), target))
    known = target >= 0
    rows = method.head(embedding)[known].log_softmax(1)
    by_hand = -rows[range(6), target[known]].mean()
    torch.testing.assert_close(output.loss, by_hand)


def test_a_forgotten_init_is_said(monkeypatch, caplog):
    caplog.set_level(logging.WARNING, logger="sslight")
    clustered(build(), monkeypatch)
    assert "no weights were loaded since the method was built" in caplog.text
    caplog.clear()
    method = build()
    with torch.no_grad():
        method.backbone[0].weight.add_(1)
    clustered(method, monkeypatch)
    assert caplog.text == ""


def test_a_run_clusters_its_images():
    method = tiny.fit(tiny.build("clusterfit"), "clusterfit")
    assert method.assignments.shape == (16,)
    assert len(method.assignments.unique()) > 1


def test_a_config_says_by_init_what_is_clustered(tmp_path, caplog):
    backbone = {"name": "resnet18", "stem": "small", "width": 4}
    torch.manual_seed(5)
    trained = sslight.backbone(**backbone)
    torch.save(trained.state_dict(), tmp_path / "trained.pt")
    config = {
        "method": {"name": "clusterfit", "num_clusters": 4, "kmeans_iterations": 5},
        "backbone": backbone,
        "init": str(tmp_path / "trained.pt"),
        "run_dir": str(tmp_path / "run"),
        "data": {
            "train": {"name": "shapes", "num_images": 16, "size": 16},
            "views": {"name": "supervised", "size": 16},
            "batch_size": 8,
            "workers": 0,
        },
        "trainer": {"max_epochs": 1, "accelerator": "cpu"},
    }
    method = sslight.fit(config).method
    assert "no weights were loaded" not in caplog.text
    features = dataset_features(trained, method.trainer.datamodule)
    generator = torch.Generator().manual_seed(seed_of(0, _STREAM))
    assert torch.equal(method.assignments, feature_clusters(features, 4, 5, generator=generator))


@pytest.mark.parametrize(
    ("images", "said"), [(None, "training images is unknown"), (2, "is 3, but there are 2 .*to 2")]
)
def test_too_few_images_are_refused(images, said):
    with pytest.raises(RefusedRunError, match=said):
        build().on_data(images, None)


def test_other_images_are_refused(monkeypatch):
    method = clustered(build(), monkeypatch)
    with pytest.raises(RefusedRunError, match="10 images have clusters, but there are 11"):
        method.on_data(11, None)


def test_without_clusters_it_says_how_to_get_them():
    with pytest.raises(ValueError, match="no clusters yet; train with"):
        build().training_loss({"views": [torch.ones(1, 3, 8, 8)], "index": torch.tensor([0])})


@pytest.mark.parametrize("wrong", [{"num_clusters": 1}, {"pca_dim": 7}, {"pca_dim": -1}])
def test_wrong_numbers_are_said(wrong):
    with pytest.raises(ValueError, match="2 clusters or more, and 1 to 6 components"):
        build(**wrong)
