from __future__ import annotations

import copy
import pickle

import pytest
import torch
import torchvision
from torch import nn

from sslight.backbones import backbone
from sslight.modules.checkpointing import (
    checkpoint_blocks,
    chunked,
    held_statistics,
    repeated_blocks,
)


def gradients(module: nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    out = module(images)
    return list(torch.autograd.grad(out.square().sum(), list(module.parameters())))


def assert_same(a: list[torch.Tensor], b: list[torch.Tensor], **tolerance: float) -> None:
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, **tolerance)


class Tokens(nn.Module):
    """A backbone whose forward goes through ``tokens``, with a mask per image."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.calls = []

    def tokens(self, x, mask=None):
        self.calls.append(len(x))
        out = self.layer(x)
        return out if mask is None else out * mask[:, :, None]

    def forward(self, x):
        return self.tokens(x).mean(1)


def test_chunks_see_at_most_chunk_images_and_give_the_same():
    module, x = Tokens(), torch.randn(7, 3, 4)
    whole = module(x), gradients(module, x)
    module.calls.clear()
    with chunked(module, 3):
        torch.testing.assert_close(module(x), whole[0])  # rounding: sizes of matmuls differ
        assert module.calls == [3, 3, 1]
        assert_same(gradients(module, x), whole[1])
    assert "forward" not in module.__dict__
    assert "tokens" not in module.__dict__


def test_tokens_is_chunked_too_and_masks_are_cut_along():
    module, x, mask = Tokens(), torch.randn(5, 3, 4), torch.rand(5, 3) > 0.5
    whole = module.tokens(x, mask=mask)
    module.calls.clear()
    with chunked(module, 2):
        torch.testing.assert_close(module.tokens(x, mask=mask), whole)
    assert module.calls == [2, 2, 1]


def test_a_transformers_kept_patches_and_blocks_are_chunked_too():
    torch.manual_seed(0)
    options = {"image_size": 8, "patch_size": 2, "width": 16, "heads": 2, "depth": 2}
    vit, x = backbone("vit_t_16", **options), torch.randn(5, 3, 8, 8)
    keep = torch.rand(5, 16).argsort(1)[:, :6]
    whole = vit.tokens(x, keep=keep), vit.block_outputs(x, 2, keep=keep)
    sizes = []
    vit.norm.register_forward_pre_hook(lambda m, i: sizes.append(i[0].shape[:2]))
    with chunked(vit, 2):
        torch.testing.assert_close(vit.tokens(x, keep=keep), whole[0])
        for a, b in zip(vit.block_outputs(x, 2, keep=keep), whole[1], strict=True):
            torch.testing.assert_close(a, b)
    assert sizes == [(2, 7), (2, 7), (1, 7)]


def test_the_original_comes_back_after_an_error():
    module = Tokens()
    with pytest.raises(RuntimeError), chunked(module, 2):
        module(torch.randn(4, 3, 5))
    assert "forward" not in module.__dict__
    assert module(torch.randn(2, 3, 4)).shape == (2, 4)


def test_backward_after_the_block_works():
    module, x = Tokens(), torch.randn(6, 3, 4)
    with chunked(module, 2):
        loss = module(x).square().sum()
    grads = torch.autograd.grad(loss, list(module.parameters()))
    assert_same(list(grads), gradients(module, x))


def test_structured_outputs_are_joined():
    class Pyramid(nn.Module):
        def forward(self, x):
            return {"a": x * 2, "b": (x[:, :1], [x + 1])}

    x = torch.randn(5, 3, requires_grad=True)
    module = Pyramid()
    with chunked(module, 2):
        out = module(x)
    assert torch.equal(out["a"], x * 2)
    assert torch.equal(out["b"][0], x[:, :1])
    assert torch.equal(out["b"][1][0], x + 1)


def test_dropout_draws_the_same_in_the_recomputation():
    module = nn.Sequential(nn.Linear(4, 64), nn.Dropout(0.5))
    x = torch.randn(6, 4)
    with chunked(module, 2):
        out = module(x)
    kept = (out != 0).float()
    (grad,) = torch.autograd.grad(out.sum(), [module[0].bias])
    torch.testing.assert_close(grad, 2 * kept.sum(0))


@pytest.mark.parametrize("momentum", [0.1, None])
def test_statistics_move_once(momentum):
    def norm() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, momentum=momentum))

    plain, module, x = norm(), norm(), torch.randn(6, 4)
    for part in x.split(3):
        plain(part)
    with chunked(module, 3):
        module(x).sum().backward()
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(module.state_dict()[name], value, msg=name)
    assert module[1].num_batches_tracked == 2


def test_held_statistics_restores_the_very_same_buffers():
    norm = nn.BatchNorm1d(3)
    buffers = dict(norm.named_buffers())
    with held_statistics(norm):
        norm(torch.full((4, 3), float("inf")))
    assert all(norm._buffers[name] is buffer for name, buffer in buffers.items())
    assert norm.num_batches_tracked == 0
    assert norm.running_mean.isfinite().all()


def test_chunk_must_be_positive():
    with pytest.raises(ValueError, match="chunk is 0"), chunked(Tokens(), 0):
        pass


# ---------------------------------------------------------------------------------- blocks


@pytest.mark.parametrize(
    ("build", "count", "name"),
    [
        (torchvision.models.resnet18, 8, "BasicBlock"),
        (torchvision.models.resnet50, 16, "Bottleneck"),
        (torchvision.models.vit_b_32, 12, "EncoderBlock"),
        (torchvision.models.convnext_tiny, 18, "CNBlock"),
        (torchvision.models.swin_t, 12, "SwinTransformerBlock"),
    ],
)
def test_blocks_are_found(build, count, name):
    with torch.device("meta"):
        model = build()
    blocks = repeated_blocks(nn.Sequential(model, nn.Flatten()))
    assert [type(block).__name__ for block in blocks] == [name] * count


def test_timms_blocks_are_found():
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        vit = timm.create_model("vit_tiny_patch16_224")
        resnet = timm.create_model("resnet26")
    assert len(repeated_blocks(vit)) == 12
    assert len(repeated_blocks(resnet)) == 8


def test_a_checkpointed_resnet_has_the_same_gradients_and_statistics():
    torch.manual_seed(0)
    plain = torchvision.models.resnet18(num_classes=4).double()
    saving = checkpoint_blocks(copy.deepcopy(plain), 5)
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    assert_same(gradients(saving, x), gradients(plain, x), rtol=1e-9, atol=1e-12)
    assert list(saving.state_dict()) == list(plain.state_dict())
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(saving.state_dict()[name], value, msg=name)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return self.layer(x).tanh()


def test_only_the_first_n_are_computed_twice():
    net = checkpoint_blocks(nn.Sequential(*[Block() for _ in range(4)]), 2)
    net(torch.randn(2, 3)).sum().backward()
    assert [block.calls for block in net] == [2, 2, 1, 1]
    with torch.no_grad():
        net(torch.randn(2, 3))
    assert [block.calls for block in net] == [3, 3, 2, 2]


def test_copies_and_pickles_run_their_own_blocks():
    net = checkpoint_blocks(nn.Sequential(Block(), Block()), 9)
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        twin(torch.randn(2, 3)).sum().backward()
        assert [block.calls for block in twin] == [2, 2]
    assert [block.calls for block in net] == [0, 0]


def test_no_blocks_is_an_error_and_zero_is_nothing():
    with pytest.raises(ValueError, match="no repeated blocks in Linear"):
        checkpoint_blocks(nn.Linear(2, 2), 1)
    with pytest.raises(ValueError, match="use 0"):
        checkpoint_blocks(nn.Linear(2, 2), -1)
    assert checkpoint_blocks(nn.Linear(2, 2), 0).weight.shape == (2, 2)
