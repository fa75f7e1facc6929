from __future__ import annotations

import pytest
import tiny
import torch
from torch import nn

from sslight.errors import RefusedRunError
from sslight.losses.deepcluster_v2 import cluster_prediction
from sslight.methods.deepcluster_v2 import DeepClusterV2


def build(**options: object) -> DeepClusterV2:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    sizes = {"hidden_dim": 16, "out_dim": 5, "num_clusters": 4}
    return DeepClusterV2(net, **{**sizes, **options})


def batch(*sizes: int) -> dict[str, object]:
    generator = torch.Generator().manual_seed(1)
    views = [torch.randn(4, 3, size, size, generator=generator) for size in sizes]
    return {"views": views, "index": torch.tensor([5, 0, 2, 7]), "n_global": 2}


def with_clusters(method: DeepClusterV2) -> DeepClusterV2:
    method.on_data(8, None)
    method.memory.rows.normal_()
    method.memory.cluster(2, torch.Generator().manual_seed(0))
    return method


def test_all_crops_predict_the_clusters_of_their_image():
    method, crops = with_clusters(build()), batch(8, 8, 6)
    output = method.training_loss(crops)
    first, second, small = crops["views"]
    embedding = torch.cat([method.backbone(torch.cat([first, second])), method.backbone(small)])
    torch.testing.assert_close(output.embedding, embedding)
    target = method.memory.assignments[:, crops["index"]]
    z = method.projector(embedding)
    expected = cluster_prediction(z, method.memory.centroids, target)
    torch.testing.assert_close(output.loss, expected)
    for crop, rows in zip(method.memory.rows, z.chunk(3), strict=False):
        written = nn.functional.normalize(rows, dim=1)
        torch.testing.assert_close(crop[crops["index"]], written)


def test_only_training_moves_the_memory():
    method = with_clusters(build())
    before = method.memory.rows.clone()
    with torch.no_grad():
        method.training_loss(batch(8, 8))
    method.eval().training_loss(batch(8, 8))
    assert torch.equal(method.memory.rows, before)


def test_the_memory_is_filled_from_the_clean_view_once():
    """Before the first epoch: in eval mode, so it needs no batch; later epochs only cluster."""
    method = tiny.build("deepcluster_v2")
    seen: list[torch.Tensor] = []
    cluster = method.before_epoch

    def before_epoch(clock: object) -> None:
        norms = method.projector[1].running_mean.clone()
        cluster(clock)
        assert torch.equal(method.projector[1].running_mean, norms)
        assert method.projector.training
        seen.append(method.memory.rows.clone())

    method.before_epoch = before_epoch
    tiny.fit(method, "deepcluster_v2", max_epochs=2)
    first, second = seen
    assert torch.equal(first[0], first[1])
    assert not torch.equal(second[0], second[1])
    assert (method.memory.assignments >= 0).all()


def test_more_clusters_than_images_are_refused():
    with pytest.raises(RefusedRunError, match=r"num_clusters is 4, but there are 3 .*to 3 or less"):
        build().on_data(3, None)


def test_without_the_number_of_images_it_says_what_to_give():
    with pytest.raises(RefusedRunError, match="number of training images is unknown"):
        build().on_data(None, None)


def test_other_images_are_refused_and_the_same_keep_the_memory():
    method = with_clusters(build())
    memory = method.memory
    method.on_data(8, None)
    assert method.memory is memory
    with pytest.raises(RefusedRunError, match="memory has 8 rows, but there are 9"):
        method.on_data(9, None)


def test_without_a_memory_it_says_how_to_get_one():
    with pytest.raises(ValueError, match=r"no memory yet; call on_data"):
        build().training_loss(batch(8, 8))


def test_too_few_views_are_said():
    with pytest.raises(ValueError, match="memory_crops is 3, but the batch has 2 views"):
        with_clusters(build(memory_crops=3)).training_loss(batch(8, 8))


def test_wrong_numbers_are_said():
    with pytest.raises(ValueError, match="heads is 0; use 1 or more"):
        build(heads=0)


def test_large_buffers_stay_out_of_broadcasts():
    from sslight.bookkeeping import large_buffers

    method = with_clusters(build())
    assert "memory.rows" in large_buffers(method)
