"""The order of images: a function of (seed, epoch, position) that ranks and windows only split."""

from __future__ import annotations

import numpy as np
import pytest

from sslight.data.sampler import EpochBatches, shard_rows


@pytest.mark.parametrize(("world", "accumulate"), [(1, 1), (2, 1), (1, 4), (2, 2), (4, 2)])
def test_ranks_and_windows_split_the_global_batch_contiguously(world: int, accumulate: int) -> None:
    whole = [[i for _, i in batch] for batch in EpochBatches(37, 16, seed=3)]
    parts = [
        list(EpochBatches(37, 16, seed=3, rank=r, world_size=world, accumulate=accumulate))
        for r in range(world)
    ]
    for k, batch in enumerate(whole):
        window = range(k * accumulate, (k + 1) * accumulate)
        rebuilt = [i for a in window for r in range(world) for _, i in parts[r][a]]
        assert rebuilt == batch
    assert len(whole) == 2  # the tail of 5 images is dropped


def test_it_starts_in_the_middle_at_once() -> None:
    batches = EpochBatches(64, 8, seed=0)
    batches.start_at(epoch=2, done=0)
    straight = list(batches)
    batches.start_at(epoch=2, done=5)
    assert list(batches) == straight[5:]
    assert len(batches) == 8  # the length is the epoch's, wherever it starts


def test_a_batch_that_does_not_divide_names_the_two_nearest() -> None:
    with pytest.raises(ValueError, match="Use 252 or 256"):
        EpochBatches(1000, 254, seed=0, world_size=2, accumulate=2)


def test_too_few_images_say_so() -> None:
    with pytest.raises(ValueError, match=r"10 images, fewer than one batch of 16.*at most 10"):
        EpochBatches(10, 16, seed=0)
    with pytest.raises(ValueError, match="too few for 8 devices"):
        EpochBatches(4, 16, seed=0, world_size=8)


@pytest.mark.parametrize("world", [1, 2, 3, 4])
@pytest.mark.parametrize("n", [1, 5, 17, 32])
def test_evaluation_covers_every_row_once_in_equally_many_batches(n: int, world: int) -> None:
    shards = [shard_rows(np.arange(n), r, world, batch_size=2) for r in range(world)]
    assert sorted(i for shard in shards for batch in shard for i in batch) == list(range(n))
    assert len({len(shard) for shard in shards}) == 1
    assert all(len(batch) == 2 for shard in shards for batch in shard[:-1])


def test_what_is_left_of_an_evaluation_comes_in_the_batches_of_the_whole() -> None:
    whole = shard_rows(np.arange(21), 0, 1, batch_size=8)
    left = shard_rows(np.arange(8, 21), 0, 1, batch_size=8)
    assert [batch.tolist() for batch in whole[1:]] == [batch.tolist() for batch in left]
