from __future__ import annotations

import pytest
import torch

from sslight.losses.moco_v2 import moco_v2_loss


@pytest.mark.parametrize(("key", "queue"), [((4, 5), (8, 6)), ((3, 6), (8, 6)), ((4, 6), (8, 5))])
def test_shapes_that_do_not_agree_are_refused(key, queue):
    with pytest.raises(ValueError, match=r"queue \[K, P\], got \(4, 6\)"):
        moco_v2_loss(torch.ones(4, 6), torch.ones(*key), torch.ones(*queue))


def test_bfloat16_is_computed_in_float32():
    generator = torch.Generator().manual_seed(0)
    q, k, queue = (torch.randn(8, 6, generator=generator).bfloat16() for _ in range(3))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = moco_v2_loss(q, k, queue)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, moco_v2_loss(q.float(), k.float(), queue.float()))
