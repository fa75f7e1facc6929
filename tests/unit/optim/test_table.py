from __future__ import annotations

import inspect

import pytest
import torch
from torch.optim import Optimizer

from sslight.optim import OPTIMIZERS, find_optimizer


def test_every_optimizer_of_torch_is_there_but_two():
    classes = {
        name
        for name, member in vars(torch.optim).items()
        if inspect.isclass(member) and issubclass(member, Optimizer) and member is not Optimizer
    }
    assert len(classes) > 10
    assert classes - set(OPTIMIZERS) == {"LBFGS", "SparseAdam"}
    assert OPTIMIZERS["sgd"] is OPTIMIZERS["SGD"] is torch.optim.SGD


def test_a_class_is_its_own_name():
    assert find_optimizer(torch.optim.ASGD) is torch.optim.ASGD


def test_unknown_names_list_the_known():
    with pytest.raises(ValueError, match=r"'larks'.*Did you mean 'lars'.*Known: sgd, adam"):
        find_optimizer("larks")
