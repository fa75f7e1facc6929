from __future__ import annotations

import sys
from importlib.metadata import EntryPoint

import pytest

from sslight import registry
from sslight.registry import RefusedError, UnknownNameError, foreign


@pytest.fixture(autouse=True)
def _house(house):
    (house / "house_fake" / "methods" / "__init__.py").write_text("")


def offer(monkeypatch, family: str, **points: str) -> None:
    found = {
        name: tuple(EntryPoint(name, value, f"sslight.{family}") for value in values.split())
        for name, values in points.items()
    }
    monkeypatch.setattr(foreign, "entry_points", lambda asked: found if asked == family else {})


def test_names_come_from_files_without_importing_them():
    assert registry.names("method") == ["mo_co"]
    assert registry.names("eval") == ["knn"]
    assert not [name for name in sys.modules if name.startswith("house_fake")]


def test_names_come_from_tables_literal_or_not():
    assert registry.names("train_step") == ["plain", "lazy", "far"]
    assert registry.names("schedule") == ["plain", "lazy", "far"]
    assert not [name for name in sys.modules if name.startswith("house_fake")]
    assert registry.names("views") == ["plain"]


def test_members_are_found():
    assert registry.resolve("method", "mo_co").__name__ == "MoCo"
    assert registry.resolve("eval", "knn").__name__ == "evaluate"
    assert registry.resolve("train_step", "plain").__name__ == "plain"
    assert registry.resolve("train_step", "lazy") is registry.resolve("eval", "knn")
    assert registry.resolve("views", "plain").__name__ == "plain"


def test_summaries():
    assert registry.summary("method", "mo_co") == "Momentum contrast of two views."
    assert registry.summary("eval", "knn") == "Vote."
    assert [registry.summary("train_step", name) for name in ("plain", "lazy", "far")] == [
        "Plainly.",
        "Vote.",
        "Vote.",
    ]
    assert registry.summary("views", "plain") == "Plainly."


def test_an_unknown_name_suggests_and_lists():
    with pytest.raises(UnknownNameError) as error:
        registry.resolve("method", "MoCo-")
    assert str(error.value) == "unknown method 'MoCo-'. Did you mean 'mo_co'? Known: mo_co."
    with pytest.raises(UnknownNameError, match="unknown method 'base'"):
        registry.resolve("method", "base")


def test_an_unknown_family_suggests():
    with pytest.raises(UnknownNameError, match="Did you mean 'method'"):
        registry.names("metod")


@pytest.mark.parametrize(
    "name",
    ["os.system", "torch.load", "os:system", "torch:load", "builtins:eval", "subprocess:run"],
)
@pytest.mark.parametrize("trust", [(), ("os", "torch", "builtins", "subprocess", "mine_fake")])
def test_libraries_are_refused_whatever_is_trusted(name, trust):
    with pytest.raises(RefusedError, match="is a library"):
        registry.resolve("method", name, trust)


def test_an_untrusted_package_is_not_even_imported():
    with pytest.raises(RefusedError, match=r"not trusted.*add --trust mine_fake"):
        registry.resolve("method", "mine_fake.parts:Thing")
    with pytest.raises(RefusedError, match="not trusted"):
        registry.resolve("method", "mine_fake.parts:Thing", ["mine", "mine_fake_too"])
    assert "mine_fake" not in sys.modules


def test_a_trusted_class_is_found():
    thing = registry.resolve("method", "mine_fake.parts:Thing", ["mine_fake"])
    assert thing.__name__ == "Thing"
    assert registry.resolve("method", "mine_fake.parts:Thing", ["mine_fake.parts"]) is thing
    assert registry.resolve("backbone", "mine_fake.parts:build", ["mine_fake"]).__name__ == "build"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("parts:system", "defined in 'posix', outside the trusted package 'mine_fake'"),
        ("parts:load", "defined in 'torch.serialization'"),
        ("parts:Linear", "defined in 'torch.nn.modules.linear'"),
        ("parts:os", "is a module"),
        ("parts:part", "outside the trusted package|is a partial"),
        ("parts:loose", r"takes \*\*kwargs"),
        ("parts:Nothing", "has no 'Nothing'"),
        ("absent:Thing", "there is no module 'mine_fake.absent'"),
    ],
)
def test_what_else_a_trusted_path_may_not_name(path, reason):
    with pytest.raises(RefusedError, match=reason):
        registry.resolve("method", f"mine_fake.{path}", ["mine_fake"])


def test_a_missing_import_of_the_user_s_module_is_not_hidden():
    with pytest.raises(ModuleNotFoundError, match="a_package_that_is_not_there"):
        registry.resolve("method", "mine_fake.broken:Thing", ["mine_fake"])


@pytest.mark.parametrize(
    "name", ["mine_fake.parts.Thing", "mine_fake.parts:Thing.x", "mine_fake:a b"]
)
def test_malformed_paths_say_how_to_write_one(name):
    with pytest.raises(RefusedError, match=r"package\.module:Class"):
        registry.resolve("method", name, ["mine_fake"])


def test_a_class_must_be_of_the_family():
    with pytest.raises(RefusedError, match="must be a class derived from Callback"):
        registry.resolve("callback", "mine_fake.parts:Thing", ["mine_fake"])


def test_the_working_folder_is_searched_for_trusted_packages_only(tmp_path, monkeypatch):
    folder = tmp_path / "elsewhere"
    (folder / "local_fake").mkdir(parents=True)
    (folder / "local_fake" / "__init__.py").write_text("class Thing: ...\n")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    with pytest.raises(RefusedError, match="not trusted"):
        registry.resolve("method", "local_fake:Thing")
    assert registry.resolve("method", "local_fake:Thing", ["local_fake"]).__name__ == "Thing"
    assert sys.path[-1] == str(folder)
    sys.modules.pop("local_fake")


def test_entry_points_are_trusted(monkeypatch):
    offer(monkeypatch, "method", theirs="mine_fake.parts:Thing")
    assert registry.resolve("method", "theirs").__name__ == "Thing"
    assert registry.names("method") == ["mo_co", "theirs"]
    assert registry.summary("method", "theirs") == "mine_fake.parts:Thing"


def test_an_entry_point_cannot_take_a_built_in_name(monkeypatch):
    offer(monkeypatch, "method", mo_co="mine_fake.parts:Thing")
    with pytest.raises(
        RefusedError, match=r"'mo_co' is built in, but also .* mine_fake\.parts:Thing"
    ):
        registry.resolve("method", "mo_co")


def test_two_packages_cannot_offer_one_name(monkeypatch):
    offer(monkeypatch, "method", theirs="mine_fake.parts:Thing mine_fake.other:Thing")
    with pytest.raises(RefusedError, match="offered by 2 entry points"):
        registry.resolve("method", "theirs")


def test_register_serves_notebooks(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})

    @registry.register("method", "mine")
    class Mine:
        """Mine alone."""

    assert registry.resolve("method", "mine") is Mine
    assert registry.names("method") == ["mo_co", "mine"]
    assert registry.summary("method", "mine") == "Mine alone."

    @registry.register("method", "mine")
    class Again: ...

    assert registry.resolve("method", "mine") is Again


@pytest.mark.parametrize("name", ["mo_co", "a:b", "a.b", "timm/x"])
def test_names_that_cannot_be_registered(name):
    with pytest.raises(ValueError, match=r"built in|letters"):
        registry.register("method", name)


def test_registered_things_must_be_usable():
    with pytest.raises(RefusedError, match="not a class or a function"):
        registry.register("method", "odd")(3)
