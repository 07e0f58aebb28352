import pytest

from depthformer_core.data.dataset import DatasetError, read_intrinsics


@pytest.mark.parametrize(
    "text",
    ["700 0 600 0 710 170 0 0 1", "7e2 0 6e2\n0 7.1e2 1.7e2\r\n0 0 1\n"],
    ids=["one-line", "three-lines"],
)
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "byte-order-mark"])
def test_read(tmp_path, text, mark):
    (tmp_path / "k.txt").write_bytes((mark + text).encode())
    assert read_intrinsics(tmp_path / "k.txt") == (700, 710, 600, 170)


@pytest.mark.parametrize(
    "content",
    [
        b"700 0 600",
        b"700 0 600 0 710 170 0 0 1 5",
        b"700 0 600 0 nan 170 0 0 1",
        b"0 0 600 0 710 170 0 0 1",
        b"700 0 600 0 -710 170 0 0 1",
        b"fx 0 600 0 710 170 0 0 1",
        b"",
        b"\xff\xfe",
    ],
    ids=["three", "ten", "nan", "zero", "negative", "text", "empty", "binary"],
)
def test_malformed(tmp_path, content):
    (tmp_path / "k.txt").write_bytes(content)
    with pytest.raises(DatasetError, match=r"k\.txt"):
        read_intrinsics(tmp_path / "k.txt")


def test_utf_16_is_named(tmp_path):
    (tmp_path / "k.txt").write_text("700 0 600 0 710 170 0 0 1", encoding="utf-16")
    with pytest.raises(DatasetError, match=r"cannot read intrinsics .*k\.txt: it is UTF-16"):
        read_intrinsics(tmp_path / "k.txt")


def test_missing(tmp_path):
    with pytest.raises(DatasetError, match=r"k\.txt"):
        read_intrinsics(tmp_path / "k.txt")
