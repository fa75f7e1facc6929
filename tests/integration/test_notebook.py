"""A researcher's method: 25 lines, plain Lightning, and the same file from the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import tiny
import torch
from cli_server import CliServer
from torch import nn

from sslight import Recipe, SSLDataModule, SSLModule, StepOutput, backbone
from sslight.augment import PRESETS
from sslight.data.sources.shapes import Shapes

METHOD = '''
import torch
from torch import nn
from torch.nn.functional import normalize

from sslight import Recipe, SSLModule, StepOutput


class Align(SSLModule):
    """Pull the views of an image together and push the batch apart (arXiv:2005.10242)."""

    default_views = "simclr"

    def __init__(self, backbone, optim: Recipe | None = None, *, out_dim: int = 8, t: float = 2.0):
        super().__init__(backbone, optim)
        self.t = t
        self.head = nn.Linear(self.backbone.embed_dim, out_dim)

    def training_loss(self, batch):
        embedding = self.backbone(torch.cat(batch["views"]))
        a, b = normalize(self.head(embedding), dim=1).chunk(2)
        align = (a - b).square().sum(1).mean()
        uniform = torch.pdist(a).square().mul(-self.t).exp().mean().log()
        return StepOutput(align + uniform, embedding=embedding, logs={"align": align})
'''

CONFIG = """
method: {name: "mylab.align:Align", out_dim: 6}
backbone: {name: resnet18, stem: small, width: 4}
data:
  train: {name: shapes, num_images: 16, size: 16}
  views: {name: simclr, size: 16}
  batch_size: 8
  workers: 0
optim: {lr: 0.1}
trainer: {max_epochs: 1, accelerator: cpu, log_every_n_steps: 1}
"""


@pytest.fixture
def cell() -> type[SSLModule]:
    """The class, as a notebook's cell defines it."""
    scope: dict[str, Any] = {"__name__": "__notebook__"}
    exec(compile(METHOD, "cell", "exec"), scope)
    return scope["Align"]


def resnet() -> nn.Module:
    torch.manual_seed(0)
    return backbone("resnet18", stem="small", width=4)


class Batches(torch.utils.data.IterableDataset):
    """Ready batches, as anyone's own loader might yield them."""

    def __iter__(self) -> Any:
        generator = torch.Generator().manual_seed(0)
        for k in range(3):
            views = [torch.randn(4, 3, 16, 16, generator=generator) for _ in range(2)]
            yield {"views": views, "index": torch.arange(4) + 4 * k}

    def __len__(self) -> int:
        return 3


class Pairs(torch.utils.data.Dataset):
    """Items that torch's own collate turns into a batch."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, i: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(i)
        views = [torch.randn(3, 16, 16, generator=generator) for _ in range(2)]
        return {"views": views, "index": i, "label": i % 3}


def moved(method: SSLModule, before: dict[str, torch.Tensor]) -> bool:
    return all(
        not torch.equal(before[name], parameter)
        for name, parameter in method.named_parameters()
        if not name.endswith("head.bias")
    )


def quiet(**options: Any) -> pl.Trainer:
    return tiny.trainer(**options)


def test_a_method_is_short():
    lines = [line for line in METHOD.splitlines() if line.strip()]
    assert len(lines) <= 25


def test_it_trains_under_a_plain_trainer(cell: type[SSLModule]):
    method = cell(resnet(), Recipe(lr=0.1))
    before = tiny.snapshot(method)
    data = SSLDataModule(
        train=Shapes(16, size=16),
        test=Shapes(8, size=16),
        views=PRESETS["simclr"](size=16),
        batch_size=8,
        workers=0,
    )
    trainer = quiet()
    trainer.fit(method, data)
    assert trainer.global_step == 2
    assert moved(method, before)
    assert {"train/loss", "train/lr", "train/align"} <= set(trainer.callback_metrics)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize(
    ("loader", "steps"),
    [
        (lambda: torch.utils.data.DataLoader(Pairs(), batch_size=4), 3),
        (lambda: torch.utils.data.DataLoader(Pairs(), batch_size=4, shuffle=True), 3),
        (lambda: torch.utils.data.DataLoader(Batches(), batch_size=None), 3),
    ],
)
def test_it_trains_on_a_plain_loader(cell: type[SSLModule], loader: Any, steps: int, scaled: bool):
    recipe = Recipe(lr=0.1, scale_lr="linear" if scaled else None)
    method, loader = cell(resnet(), recipe), loader()
    before = tiny.snapshot(method)
    trainer = quiet()
    if scaled and loader.batch_size is None:
        with pytest.raises(ValueError, match="learning rate cannot be scaled"):
            trainer.fit(method, loader)
        return
    trainer.fit(method, loader)
    assert trainer.global_step == steps
    assert moved(method, before)


# ------------------------------------------------------------------ the same file by name


@pytest.fixture
def package(tmp_path: Path) -> Path:
    (tmp_path / "mylab").mkdir()
    (tmp_path / "mylab" / "__init__.py").touch()
    (tmp_path / "mylab" / "align.py").write_text(METHOD)
    (tmp_path / "align.yaml").write_text(CONFIG)
    return tmp_path


def test_it_trains_from_the_command_line(cli: CliServer, package: Path):
    ended = cli.run(["fit", "--config", "align.yaml", "--trust", "mylab"], package)
    assert ended.code == 0, ended.output
    run = package / "runs" / "align"
    assert (run / "backbone.safetensors").is_file()
    assert '"train/align"' in (run / "metrics.jsonl").read_text()


@pytest.mark.parametrize("trust", [[], ["--trust", "otherlab"]])
def test_it_is_refused_without_trust(cli: CliServer, package: Path, trust: list[str]):
    (package / "mylab" / "__init__.py").write_text("open('imported', 'w').close()\n")
    ended = cli.run(["fit", "--config", "align.yaml", *trust], package)
    assert ended.code == 2, ended.output
    assert "method.name" in ended.output
    assert "--trust mylab" in ended.output
    assert not (package / "imported").exists(), "code that is not trusted was run"
    assert not (package / "runs").exists()


def test_a_misspelt_option_is_reported(cli: CliServer, package: Path):
    words = ["fit", "--config", "align.yaml", "--trust", "mylab", "method.outdim=3"]
    ended = cli.run(words, package)
    assert ended.code == 2, ended.output
    assert "method.outdim" in ended.output
    assert "Did you mean 'out_dim'?" in ended.output


# ------------------------------------------------------------------ mistakes


@pytest.mark.parametrize("base", ["SSLModule", "a method"])
def test_overriding_the_data_hook_is_refused(base: str):
    parent = SSLModule if base == "SSLModule" else tiny.method_class("simclr")
    with pytest.raises(TypeError) as error:

        class Mine(parent):  # type: ignore[misc, valid-type]
            def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
                return batch

    text = str(error.value)
    assert "Mine.on_after_batch_transfer" in text
    assert "SSLDataModule" in text
    assert "prepare_batch(batch)" in text


def test_prepare_batch_is_called_instead(cell: type[SSLModule]):
    class Darker(cell):  # type: ignore[misc, valid-type]
        seen: list[float]

        def prepare_batch(self, batch: Any) -> Any:
            self.seen = [*getattr(self, "seen", []), batch["views"][0].abs().max().item()]
            return {**batch, "views": [view * 0 for view in batch["views"]]}

        def training_loss(self, batch: Any) -> StepOutput:
            assert all(not view.any() for view in batch["views"])
            return super().training_loss(batch)

    method = Darker(resnet(), Recipe(lr=0.1))
    quiet().fit(method, torch.utils.data.DataLoader(Pairs(), batch_size=4))
    assert len(method.seen) == 3
    assert min(method.seen) > 0


@pytest.mark.parametrize("preset", ["simclr", "byol"])
def test_a_missing_key_names_itself_and_a_preset(cell: type[SSLModule], preset: str):
    class Masked(cell):  # type: ignore[misc, valid-type]
        needs = ("views", "masks")
        default_views = preset

    with pytest.raises(ValueError, match="masks") as error:
        quiet().fit(Masked(resnet()), tiny.data("simclr"))
    text = str(error.value)
    assert text.startswith("Masked needs ['masks']")
    assert f"data.views: {{name: {preset}}}" in text
    assert "'views'" in text.partition("holds")[2]


def test_a_method_without_a_loss_says_so():
    with pytest.raises(NotImplementedError, match="SSLModule must write training_loss"):
        quiet().fit(SSLModule(resnet()), torch.utils.data.DataLoader(Pairs(), batch_size=4))


def test_nothing_of_the_package_stays_imported():
    assert "mylab" not in sys.modules
