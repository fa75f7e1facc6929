"""Fixtures that every test may use, and checks that none leaves something behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from cli_server import CliServer

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def cli() -> Iterator[CliServer]:
    """The command line, imported once, forked per command."""
    server = CliServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def real_images() -> Path:
    """Folder with cifar10/ and photos/: $SSLIGHT_DATA, or ../shared/data beside the repository."""
    folder = Path(os.environ.get("SSLIGHT_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "cifar10").is_dir():
        if os.environ.get("SSLIGHT_REQUIRE_DATA"):
            pytest.fail(f"real images are required here, but {folder} has none")
        pytest.skip(
            f"no real images in {folder}; set SSLIGHT_DATA to the folder that holds cifar10/"
        )
    return folder


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    """Fail a test that changes the environment, the default type or leaves a process group."""
    before = dict(os.environ)
    yield
    # Importing Lightning sets the fourth, scikit-learn the last two.
    volatile = (
        *("PYTEST_CURRENT_TEST", "PL_GLOBAL_SEED", "TORCHINDUCTOR_CACHE_DIR"),
        *("PYTORCH_NVML_BASED_CUDA_CHECK", "KMP_INIT_AT_FORK", "KMP_DUPLICATE_LIB_OK"),
    )
    after = dict(os.environ)
    for key in volatile:
        before.pop(key, None)
        after.pop(key, None)
    assert after == before, f"left in the environment: {set(after.items()) ^ set(before.items())}"
    assert torch.get_default_dtype() == torch.float32
    assert not (torch.distributed.is_available() and torch.distributed.is_initialized())
