from __future__ import annotations

import logging

import pytest
import torch
from torch import nn

from sslight import utils
from sslight.methods.simclr import SimCLR
from sslight.train_steps import (
    TRAIN_STEPS,
    get_train_step,
    gradcache,
    register_train_step,
    standard,
)


@pytest.fixture
def table(monkeypatch):
    monkeypatch.setattr("sslight.train_steps.TRAIN_STEPS", dict(TRAIN_STEPS))


@pytest.fixture
def said(monkeypatch):
    monkeypatch.setattr(utils, "_said", set())


def batch() -> dict:
    return {"views": list(torch.randn(2, 4, 3, 8, 8).unbind())}


def backbone() -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4))


def test_built_in_names():
    assert get_train_step("standard") is standard
    assert get_train_step("gradcache") is gradcache


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"'gradcach'.*gradcache, standard.*mean 'gradcache'"):
        get_train_step("gradcach")


@pytest.mark.usefixtures("table")
def test_register_in_a_notebook_and_again():
    @register_train_step("twice")
    def first(method, batch):
        raise NotImplementedError

    @register_train_step("twice")
    def second(method, batch):
        return standard(method, batch)

    assert get_train_step("twice") is second
    with pytest.raises(ValueError, match=r"Known:.*twice"):
        get_train_step("no such")


def test_built_in_names_cannot_be_taken():
    with pytest.raises(ValueError, match="'standard' is built in"):
        register_train_step("standard")


def test_standard_calls_training_loss():
    method = SimCLR(backbone(), hidden_dim=8, out_dim=4)
    method.eval()
    views = batch()
    assert torch.equal(standard(method, views).loss, method.training_loss(views).loss)


@pytest.mark.usefixtures("said")
def test_batch_norm_in_the_backbone_is_said_once(caplog):
    caplog.set_level(logging.WARNING, "sslight")
    net = nn.Sequential(backbone(), nn.BatchNorm1d(4))
    method = SimCLR(net, hidden_dim=8, out_dim=4)
    for _ in range(2):
        gradcache(method, batch(), chunk=4)
    assert caplog.text.count("has batch norm, whose statistics are now those of 4 images") == 1


@pytest.mark.usefixtures("said")
def test_nothing_is_said_without_batch_norm(caplog):
    method = SimCLR(backbone(), hidden_dim=8, out_dim=4)
    gradcache(method, batch(), chunk=4)
    assert caplog.text == ""
