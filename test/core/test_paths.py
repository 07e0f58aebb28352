"""Paths as people have them."""

import os
from pathlib import Path

import pytest

from depthformer_core.paths import absolute, find_file, listed, printable, user_path


def test_hidden_files_are_passed_over(tmp_path: Path) -> None:
    for name in ("b.png", "a.png", "._a.png", ".DS_Store", ".hidden.png"):
        (tmp_path / name).touch()
    (tmp_path / ".ipynb_checkpoints").mkdir()
    (tmp_path / "folder").mkdir()
    assert [path.name for path in listed(tmp_path)] == ["a.png", "b.png", "folder"]


@pytest.mark.parametrize(
    ("there", "requested", "found"),
    [
        (["a.png"], "a.png", "a.png"),
        (["a.PNG"], "a.png", "a.PNG"),
        (["a.png"], "a.PNG", "a.png"),
        (["a.PNG", "a.png"], "a.png", "a.png"),
        (["a.png"], "A.png", None),
        (["a.jpg"], "a.png", None),
        (["a"], "a", "a"),
        (["a.B.png"], "a.B.PNG", "a.B.png"),
    ],
)
def test_find_file(tmp_path: Path, there: list[str], requested: str, found: str | None) -> None:
    for name in there:
        (tmp_path / name).touch()
    assert find_file(tmp_path / requested) == (tmp_path / found if found else None)


def test_folders_and_places_without_a_name_are_no_files(tmp_path: Path) -> None:
    assert find_file(tmp_path) is None
    assert find_file(Path()) is None
    assert find_file(Path("/")) is None


def test_absolute_paths_keep_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path = tmp_path.resolve()
    (tmp_path / "store" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "store" / "deep")
    monkeypatch.chdir(tmp_path)
    assert absolute(Path("link/a.png")) == tmp_path / "link" / "a.png"
    assert absolute(Path()) == tmp_path
    assert absolute(Path("x/../link/a.png")) == tmp_path / "link" / "a.png"
    assert absolute(Path("link/../a.png")) == tmp_path / "store" / "a.png"
    assert absolute(Path("link/..")) == tmp_path / "store"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a b%#?.png", "a b%#?.png"),
        ("Straße 🚗.png", "Straße 🚗.png"),
        (os.fsdecode(b"bild\xe9.png"), r"bild\udce9.png"),
        ("\ud800", r"\ud800"),
        (Path("x/y"), "x/y"),
    ],
)
def test_printable(text: str | Path, wanted: str) -> None:
    assert printable(text) == wanted
    assert printable(text).encode()


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        pytest.param("~/drive", "/home/eye/drive", id="home"),
        pytest.param("drive", "{here}/drive", id="relative"),
        pytest.param("/drive", "/drive", id="absolute"),
        pytest.param("~nobody-of-this-name/drive", "{here}/~nobody-of-this-name/drive", id="name"),
    ],
)
def test_user_path(given: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/eye")
    monkeypatch.chdir(tmp_path)
    assert user_path(given) == Path(meant.format(here=tmp_path))
