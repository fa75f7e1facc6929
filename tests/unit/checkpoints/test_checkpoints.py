"""Backbones to disk and back, and weights from files and addresses."""

from __future__ import annotations

import hashlib
import http.server
import json
import multiprocessing
import threading

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from sslight.augment.presets import PRESETS
from sslight.backbones import backbone
from sslight.backbones.protocol import as_backbone
from sslight.checkpoints import (
    init_backbone,
    load_backbone,
    method_record,
    save_backbone,
    weights_digest,
)
from sslight.checkpoints.download import fetch
from sslight.methods.simmim import SimMIM


@pytest.fixture
def small():
    torch.manual_seed(0)
    return backbone("resnet10", width=8, stem="small").eval()


@pytest.fixture
def view():
    return PRESETS["eval"](size=32)[0]


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    return path


# --- save and load ---------------------------------------------------------------------------


def test_saved_and_loaded_is_the_same_network(small, view, tmp_path):
    record = save_backbone(small, tmp_path / "run" / "backbone", {"step": 7}, view=view)
    loaded = load_backbone(tmp_path / "run")
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(loaded(images), small(images), rtol=0, atol=0)
    assert not loaded.backbone.training
    assert (loaded.view, loaded.meta, loaded.embed_dim) == (view, {"step": 7}, 64)
    text = json.loads((tmp_path / "run" / "backbone.json").read_text())
    assert text["backbone"] == {"name": "resnet10", "kwargs": {"width": 8, "stem": "small"}}
    assert text["sha256"] == record.sha256 == weights_digest(loaded.backbone.state_dict())
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [
        "backbone.json",
        "backbone.safetensors",
    ]


def test_the_safetensors_file_alone_is_enough(small, tmp_path):
    save_backbone(small, tmp_path / "b.safetensors")
    (tmp_path / "b.json").unlink()
    loaded = load_backbone(tmp_path / "b.safetensors")
    assert weights_digest(loaded.backbone.state_dict()) == weights_digest(small.state_dict())


def test_the_digest_sees_values_names_shapes_and_types():
    base = {"a": torch.zeros(2, 3), "n": torch.tensor(1)}
    others = [
        {**base, "a": torch.ones(2, 3)},
        {"b": base["a"], "n": base["n"]},
        {**base, "a": torch.zeros(3, 2)},
        {**base, "a": torch.zeros(2, 3, dtype=torch.float16)},
    ]
    digests = {weights_digest(state) for state in [base, *others]}
    assert len(digests) == 5
    assert weights_digest(dict(reversed(base.items()))) == weights_digest(base)


def test_a_failed_save_leaves_the_old_file(small, tmp_path, monkeypatch):
    save_backbone(small, tmp_path / "b")
    before = (tmp_path / "b.safetensors").read_bytes()

    def full(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with torch.no_grad():
        small.conv1.weight += 1
    with pytest.raises(OSError, match="disk full"):
        save_backbone(small, tmp_path / "b")
    assert (tmp_path / "b.safetensors").read_bytes() == before


def test_a_module_of_ones_own_is_given_again(tmp_path):
    torch.manual_seed(0)
    own = as_backbone(nn.Conv2d(3, 4, 3))
    save_backbone(own, tmp_path / "own")
    with pytest.raises(ValueError, match=r"backbone=\.\.\."):
        load_backbone(tmp_path / "own.safetensors")
    loaded = load_backbone(tmp_path / "own.safetensors", backbone=as_backbone(nn.Conv2d(3, 4, 3)))
    images = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(loaded(images), own(images), rtol=0, atol=0)


class _Method(nn.Module):
    def __init__(self, student, teacher):
        super().__init__()
        self.backbone, self.projector = student, nn.Linear(2, 2)
        self.teacher = nn.ModuleDict({"backbone": teacher})

    @property
    def eval_backbone(self):
        return self.teacher["backbone"]


def test_a_checkpoint_gives_the_evaluated_or_the_trained_network(small, view, tmp_path):
    torch.manual_seed(1)
    student = backbone("resnet10", width=8, stem="small")
    method = _Method(student, small)
    content = {"state_dict": method.state_dict(), "sslight": method_record(method, view)}
    run = tmp_path / "run" / "checkpoints"
    run.mkdir(parents=True)
    torch.save({**content, "epoch": 3, "global_step": 40}, run / "last.ckpt")
    for source in (run / "last.ckpt", tmp_path / "run"):
        main = load_backbone(source)
        assert weights_digest(main.backbone.state_dict()) == weights_digest(small.state_dict())
        assert (main.meta["step"], main.view) == (40, view)
    trained = load_backbone(tmp_path / "run", weights="student")
    assert weights_digest(trained.backbone.state_dict()) == weights_digest(student.state_dict())
    with pytest.raises(FileNotFoundError, match="ema_weights"):
        load_backbone(tmp_path / "run", weights="ema")


def test_a_name_never_gets_random_weights_silently(tmp_path, small):
    with pytest.raises(ValueError, match='init="random"'):
        load_backbone("resnet10")
    assert load_backbone("resnet10", init="random").embed_dim == 512
    assert load_backbone("pixels").embed_dim == 3072
    with pytest.raises(FileNotFoundError, match=r"Did you mean .*'resnet10'"):
        load_backbone("resnet1")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="is it a run folder"):
        load_backbone(tmp_path / "empty")


# --- embed -----------------------------------------------------------------------------------


def test_embed_takes_paths_pil_images_and_tensors_alike(small, view, photo):
    loaded = load_backbone(small, view=view)
    image = Image.open(photo)
    tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    expected = loaded.embed(str(photo))
    assert expected.shape == (1, 64)
    assert expected.requires_grad is False
    for form in (photo, [photo], image, [image], tensor, [tensor], tensor[None]):
        torch.testing.assert_close(loaded.embed(form), expected, rtol=0, atol=0)
    many = loaded.embed([photo, image, tensor], batch_size=2)
    torch.testing.assert_close(many, expected.expand(3, -1))
    by_hand = small(loaded.transform(photo))
    torch.testing.assert_close(expected, by_hand.detach())
    layers = loaded.embed([photo], layers=["res3", "embedding"])
    assert {k: tuple(v.shape) for k, v in layers.items()} == {"res3": (1, 16), "embedding": (1, 64)}


def test_embed_explains_what_it_does_not_take(small, view):
    loaded = load_backbone(small, view=view)
    with pytest.raises(TypeError, match="uint8"):
        loaded.embed(torch.zeros(1, 3, 32, 32))
    with pytest.raises(TypeError, match="not int"):
        loaded.embed([3])
    with pytest.raises(ValueError, match="no images"):
        loaded.embed([])


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P", "1", "I;16"])
def test_pil_modes_become_what_their_files_become(small, view, tmp_path, mode):
    grey = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 257)
    else:
        image = Image.fromarray(grey).convert("RGB").convert(mode)
    path = tmp_path / ("x.tif" if mode == "CMYK" else "x.png")
    image.save(path)
    loaded = load_backbone(small, view=view)
    torch.testing.assert_close(loaded.embed(image), loaded.embed(path))


# --- init ------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "backbone.", "module.", "model.module.", "my_net."])
def test_prefixes_are_stripped_and_the_rest_is_reported(small, tmp_path, prefix):
    state = {f"{prefix}{k}": v for k, v in small.state_dict().items()}
    torch.save({"state_dict": {**state, "queue": torch.zeros(1)}}, tmp_path / "x.pth")
    other = backbone("resnet10", width=8, stem="small")
    if not prefix:
        with pytest.raises(ValueError, match="unexpected: queue"):
            init_backbone(other, tmp_path / "x.pth")
        return
    report = init_backbone(other, tmp_path / "x.pth")
    assert report.complete
    assert (report.prefix, report.ignored) == (f"state_dict.{prefix}", ["state_dict.queue"])
    assert len(report.matched) == len(state)
    assert weights_digest(other.state_dict()) == weights_digest(small.state_dict())


def test_a_removed_classifier_is_no_error_but_noted(small, tmp_path):
    torch.save({**small.state_dict(), "fc.weight": torch.zeros(3, 64)}, tmp_path / "x.pth")
    report = init_backbone(backbone("resnet10", width=8, stem="small"), tmp_path / "x.pth")
    assert report.ignored == ["fc.weight"]


def test_a_mask_token_may_be_missing_or_left_over(tmp_path):
    """It belongs to pretraining by masks: weights go into and out of such runs without it."""
    options = {"image_size": 8, "patch_size": 4, "width": 16, "heads": 2, "depth": 1}
    plain = backbone("vit_t_16", **options)
    masked = SimMIM(backbone("vit_t_16", **options)).backbone
    save_backbone(masked, tmp_path / "masked")
    assert init_backbone(plain, tmp_path / "masked.safetensors").ignored == ["mask_token"]
    torch.testing.assert_close(plain.state_dict()["pos_embed"], masked.pos_embed.detach())
    save_backbone(plain, tmp_path / "plain")
    assert init_backbone(masked, tmp_path / "plain.safetensors").complete
    again = load_backbone(tmp_path / "masked.safetensors").backbone
    assert torch.equal(again.mask_token, masked.mask_token)


def test_strict_means_nothing_missing_left_over_or_of_another_shape(small, tmp_path):
    state = dict(small.state_dict())
    state["layer9.conv.weight"] = state.pop("layer4.0.conv1.weight")
    state["conv1.weight"] = torch.zeros(8, 3, 7, 7)
    torch.save(state, tmp_path / "x.pth")
    target = backbone("resnet10", width=8, stem="small")
    before = weights_digest(target.state_dict())
    with pytest.raises(ValueError, match="do not fit ResNet") as error:
        init_backbone(target, tmp_path / "x.pth")
    text = str(error.value)
    assert "conv1.weight: file [8, 3, 7, 7], backbone [8, 3, 3, 3]" in text
    assert "missing: layer4.0.conv1.weight (nearest in the file: layer9.conv.weight)" in text
    assert "unexpected: layer9.conv.weight" in text
    assert weights_digest(target.state_dict()) == before
    report = init_backbone(target, tmp_path / "x.pth", strict=False)
    assert not report.complete
    assert weights_digest(target.state_dict()) != before


def test_random_and_missing_files(small, tmp_path):
    before = weights_digest(small.state_dict())
    assert init_backbone(small, "random") is None
    assert weights_digest(small.state_dict()) == before
    with pytest.raises(FileNotFoundError, match="there is no file"):
        init_backbone(small, tmp_path / "nothing.pth")


class _Evil:
    def __reduce__(self):
        return (print, ("code ran",))


def test_a_file_with_code_is_refused_and_runs_nothing(small, tmp_path, capsys):
    torch.save({"state_dict": small.state_dict(), "x": _Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match="unpickling can run code"):
        init_backbone(small, tmp_path / "evil.pth")
    assert "code ran" not in capsys.readouterr().out


# --- addresses -------------------------------------------------------------------------------


class _Server:
    def __init__(self, content: bytes):
        self.hits = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.hits += 1
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/weights.pth"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def served(small, tmp_path, monkeypatch):
    monkeypatch.setenv("SSLIGHT_CACHE", str(tmp_path / "cache"))
    torch.save(small.state_dict(), tmp_path / "w.pth")
    content = (tmp_path / "w.pth").read_bytes()
    server = _Server(content)
    server.sha = hashlib.sha256(content).hexdigest()
    yield server
    server.close()


def test_an_address_is_loaded_like_a_path_and_cached(small, served):
    target = backbone("resnet10", width=8, stem="small")
    for _ in range(2):
        assert init_backbone(target, f"{served.url}#sha256={served.sha}").complete
    assert weights_digest(target.state_dict()) == weights_digest(small.state_dict())
    assert served.hits == 1


def test_a_wrong_checksum_leaves_nothing_behind(small, served, tmp_path):
    with pytest.raises(ValueError, match=f"has sha256 {served.sha}"):
        init_backbone(small, f"{served.url}#sha256={'0' * 64}")
    left = [p for p in (tmp_path / "cache").rglob("*") if p.is_file() and p.suffix != ".lock"]
    assert left == []


def test_an_address_without_checksum_says_how_to_give_it(small):
    for url in ("https://x.org/w.pth", "https://x.org/w.pth#sha256=abc"):
        with pytest.raises(ValueError, match=r"w\.pth#sha256=<64 hex digits>"):
            init_backbone(small, url)


def test_no_network_says_what_to_do(small, tmp_path, monkeypatch):
    monkeypatch.setenv("SSLIGHT_CACHE", str(tmp_path))
    with pytest.raises(ConnectionError, match="give its path as `init`"):
        init_backbone(small, f"http://127.0.0.1:9/w.pth#sha256={'0' * 64}")


def test_processes_that_ask_together_download_once(served):
    url = f"{served.url}#sha256={served.sha}"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=fetch, args=(url,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [p.exitcode for p in processes] == [0] * 4
    assert served.hits == 1
