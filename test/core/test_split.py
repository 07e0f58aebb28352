import pytest

from depthformer_core.data.dataset import DatasetError
from depthformer_core.data.split import describe_frames, read_pairs, read_split


def write(path, text):
    path.write_text(text)
    return path


def test_lines_are_sorted_by_image(tmp_path):
    split = write(
        tmp_path / "s.txt", "b/2.png d/2.png 721.5377\n\n/a/1.png\t/d/1.png\r\nc.png None\n"
    )
    lines = read_split(split, depth=True)
    assert [(line.image, line.depth) for line in lines] == [
        ("a/1.png", "d/1.png"),
        ("b/2.png", "d/2.png"),
    ]
    assert lines[0].where == f"line 3 of {split}"


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["Unix", "Windows"])
def test_lists_as_editors_leave_them(tmp_path, mark, end):
    split = tmp_path / "s.txt"
    split.write_bytes((mark + end.join(("a.png d.png", "b.png None", "", "c.png e.png"))).encode())
    assert [line.image for line in read_split(split, depth=True)] == ["a.png", "c.png"]
    assert describe_frames(2, split) == "3 images listed, 2 with truth"
    assert describe_frames(3, split) == describe_frames(3, None) == "3 images"


def test_a_list_in_utf_16_is_refused(tmp_path):
    split = tmp_path / "s.txt"
    split.write_text("a.png d.png\n", encoding="utf-16")
    for read in (lambda: read_split(split, depth=True), lambda: describe_frames(1, split)):
        with pytest.raises(DatasetError, match=r"cannot read split .*s\.txt: it is UTF-16"):
            read()


def test_suffixes_in_capitals(tmp_path):
    for name in ("1.PNG", "1_d.PNG", "2.JPG", "2_d.NPY"):
        (tmp_path / name).touch()
    split = write(tmp_path / "s.txt", "1.png 1_d.png\n2.png 2_d.npy\n")
    first, second = read_pairs(split, root=tmp_path)
    assert (first.file, first.depth) == ("1.PNG", tmp_path / "1_d.PNG")
    assert (second.file, second.depth) == ("2.JPG", tmp_path / "2_d.NPY")


def test_depth_does_not_matter_where_it_is_not_asked_for(tmp_path):
    split = write(tmp_path / "s.txt", "b.png None 700\na.png\n/c.png d.png\n")
    lines = read_split(split, depth=False)
    assert [(line.image, line.depth) for line in lines] == [
        ("a.png", None),
        ("b.png", None),
        ("c.png", None),
    ]


@pytest.mark.parametrize(
    ("text", "depth", "message"),
    [
        (
            "a.png d.png\nb.png\n",
            True,
            r"line 2 of .*s.txt must be 'image depth \[focal\]', got 'b",
        ),
        ("a.png d.png 1 2\n", True, "line 1 of"),
        ("a.png d.png far\n", True, "got 'a.png d.png far'"),
        ("a.png d.png -7\n", False, "line 1 of"),
        ("a.png d.png nan\n", True, "line 1 of"),
        ("\n  \n", True, "names no frame with depth"),
        ("a.png None\n", True, "names no frame with depth"),
        ("", False, "names no frame$"),
    ],
    ids=[
        "no-depth",
        "four-fields",
        "focal-text",
        "focal-negative",
        "nan",
        "blank",
        "None",
        "empty",
    ],
)
def test_bad_split(tmp_path, text, depth, message):
    with pytest.raises(DatasetError, match=message):
        read_split(write(tmp_path / "s.txt", text), depth=depth)


def test_split_that_cannot_be_read(tmp_path):
    with pytest.raises(DatasetError, match=r"cannot read split .*none\.txt"):
        read_split(tmp_path / "none.txt", depth=True)
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(DatasetError, match=r"binary\.txt"):
        read_split(tmp_path / "binary.txt", depth=True)


def test_pairs(tmp_path):
    for name in ("1.jpg", "1.npy", "2.png", "2.npy"):
        (tmp_path / name).touch()
    split = write(tmp_path / "s.txt", "2.png 2.npy\n1.png 1.npy\n")
    first, second = read_pairs(split, root=tmp_path)
    assert (first.file, first.image, first.depth) == (
        "1.jpg",
        tmp_path / "1.jpg",
        tmp_path / "1.npy",
    ), "a picture in another format will do"
    assert second.file == "2.png"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("9.png 1.npy", r"line 1 of .*: there is no image .*9\.png"),
        ("1.jpg 9.npy", r"line 1 of .*: there is no depth .*9\.npy"),
    ],
    ids=["image", "depth"],
)
def test_pairs_with_a_missing_file(tmp_path, line, message):
    (tmp_path / "1.jpg").touch()
    (tmp_path / "1.npy").touch()
    with pytest.raises(DatasetError, match=message):
        read_pairs(write(tmp_path / "s.txt", line), root=tmp_path)
