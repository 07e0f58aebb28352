"""Files appear whole or not at all, and text files are read in the encodings of editors."""

import os
import stat
from pathlib import Path

import pytest

from depthformer_core.files import TextFileError, read_text, replacing


def test_success_replaces_and_writes_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file.txt"
    for text in ("old", "new"):
        with replacing(path) as temporary:
            assert temporary.suffix == ".txt"
            temporary.write_text(text)
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_mode & 0o400


def test_failure_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half of the ne")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_has_the_permissions_of_any_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = os.umask(0o027)
    try:
        with monkeypatch.context() as patch:
            # Between two calls of it, other threads would write files for everybody.
            patch.setattr(os, "umask", lambda _: pytest.fail("the umask is of all threads"))
            with replacing(tmp_path / "file.txt") as temporary:
                temporary.write_text("new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file.txt").stat().st_mode) == 0o640


def test_content_and_folder_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    synced: list[tuple[bool, str]] = []

    def fsync(handle: int) -> None:
        synced.append((stat.S_ISDIR(os.fstat(handle).st_mode), path.read_text()))

    monkeypatch.setattr(os, "fsync", fsync)
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert synced == [(False, "old"), (True, "new")]


@pytest.mark.parametrize(
    "name",
    [251 * "x" + ".png", 62 * "\U0001f697" + ".png", "a." + 250 * "x", "a\nb #?%.png"],
    ids=["long", "emoji", "long suffix", "odd letters"],
)
def test_every_name_that_the_file_system_takes_can_be_replaced(tmp_path: Path, name: str) -> None:
    with replacing(tmp_path / name) as temporary:
        assert not name.endswith(".png") or temporary.suffix == ".png"
        temporary.write_text("new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "new")]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["Unix", "Windows", "old Mac"])
def test_text_as_editors_write_it(tmp_path: Path, mark: bytes, end: bytes) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(mark + end.join(("Straße".encode(), b"", b"b c")))
    assert read_text(path, kind="list") == "Straße\n\nb c"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("a.png d.png\n".encode("utf-16"), "it is UTF-16, or no text at all; it must be UTF-8"),
        ("a.png d.png\n".encode("utf-16-be"), "it is UTF-16"),
        ("a.png d.png\n".encode("utf-16-le"), "it is UTF-16"),
        ("Straße".encode("latin-1"), "it is not UTF-8: .*0xdf"),
        (None, "No such file"),
    ],
    ids=["UTF-16", "big endian", "little endian", "Latin-1", "missing"],
)
def test_other_text_is_refused(tmp_path: Path, content: bytes | None, reason: str) -> None:
    if content is not None:
        (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(TextFileError, match=rf"cannot read list .*list\.txt: {reason}"):
        read_text(tmp_path / "list.txt", kind="list")
