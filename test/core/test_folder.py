import pickle

import cv2
import numpy as np
import pytest

from depthformer_core.data.dataset import DatasetError
from depthformer_core.data.folder import open_folder


def write_image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((6, 9, 3), np.uint8))


def write_png(path, steps):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((6, 9), steps, np.uint16))


def write_npy(path, depth):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, depth)


def open_train(root, *, split=None, depth_scale=None):
    return open_folder(root, part="train", split=split, depth_scale=depth_scale)


@pytest.mark.parametrize("images", ["rgb", "image", "images"])
@pytest.mark.parametrize("depths", ["depth", "depths"])
def test_png_depth(tmp_path, images, depths):
    for name, suffix in (("b", ".jpg"), ("a", ".png")):
        write_image(tmp_path / images / f"{name}{suffix}")
        write_png(tmp_path / depths / f"{name}.png", 2500)
    dataset = open_train(tmp_path, depth_scale=1000)
    dataset.check()
    assert (dataset.name, list(dataset.files)) == ("folder", ["a.png", "b.jpg"])
    assert (dataset[1].depth == 2.5).all()
    assert dataset[1].camera is None


def test_numpy_depth(tmp_path):
    write_image(tmp_path / "rgb" / "a.png")
    depth = np.full((6, 9), 7.25, np.float32)
    depth[0, :4] = (np.nan, np.inf, -1, 0)
    write_npy(tmp_path / "depth" / "a.npy", depth)
    dataset = pickle.loads(pickle.dumps(open_train(tmp_path)))
    dataset.check()
    read = dataset[0].depth
    assert read.dtype == np.float32
    assert (read[0, :4] == (0, np.inf, 0, 0)).all(), "what is no distance is no truth"
    assert (read[1:] == 7.25).all()


def test_the_largest_step_is_infinity(tmp_path):
    write_image(tmp_path / "rgb" / "a.png")
    steps = np.full((6, 9), 512, np.uint16)
    steps[0, :3] = (0, 65534, 65535)
    (tmp_path / "depth").mkdir()
    assert cv2.imwrite(str(tmp_path / "depth" / "a.png"), steps)
    for scale in (256.0, 1000.0, 0.3):
        read = open_train(tmp_path, depth_scale=scale)[0].depth
        assert read.dtype == np.float32
        assert (read[0, 0], read[0, 2], read[1, 0]) == (
            0,
            np.inf,
            np.float32(512) / np.float32(scale),
        )
        assert np.isfinite(read[0, 1])


def test_files_of_other_systems(tmp_path):
    """Hidden files of macOS and notebooks are passed over, suffixes may be in capitals."""
    write_image(tmp_path / "rgb" / "a.JPG")
    write_image(tmp_path / "rgb" / "b.PNG")
    write_png(tmp_path / "depth" / "a.PNG", 2000)
    write_npy(tmp_path / "depth" / "b.npy", np.full((6, 9), 3, np.float32))
    (tmp_path / "depth" / "b.npy").rename(tmp_path / "depth" / "b.NPY")
    for folder in ("rgb", "depth"):
        for name in ("._a.png", "._c.npy", ".DS_Store", "Thumbs.db", "desktop.ini"):
            (tmp_path / folder / name).write_bytes(b"\0\5\x16\7")
        write_image(tmp_path / folder / ".ipynb_checkpoints" / "a-checkpoint.png")
    (tmp_path / "frames.csv").write_text("name,fx,fy,cx,cy\na.jpg,7,7,4,3\nb,8,8,4,3\n")
    dataset = open_train(tmp_path, depth_scale=1000)
    dataset.check()
    assert list(dataset.files) == ["a.JPG", "b.PNG"]
    assert [frame.camera.fx for frame in dataset] == [7, 8]
    assert [frame.depth[0, 0] for frame in dataset] == [2, 3]
    (tmp_path / "s.txt").write_bytes(
        b"\xef\xbb\xbfrgb/a.jpg depth/a.png\r\nrgb/b.png depth/b.npy\r\n"
    )
    dataset = open_train(tmp_path, split=tmp_path / "s.txt", depth_scale=1000)
    dataset.check()
    assert [frame.depth[0, 0] for frame in dataset] == [2, 3]


def test_images_that_are_links(tmp_path):
    """Named after the link, as git-annex and DVC make them."""
    write_image(tmp_path / "store" / "7f3a9c.png")
    write_png(tmp_path / "store" / "depth.png", 2500)
    for folder, target in (("rgb", "7f3a9c.png"), ("depth", "depth.png")):
        (tmp_path / "root" / folder).mkdir(parents=True)
        for name in ("a.png", "b.png"):
            (tmp_path / "root" / folder / name).symlink_to(tmp_path / "store" / target)
    dataset = open_train(tmp_path / "root", depth_scale=1000)
    dataset.check()
    assert list(dataset.files) == ["a.png", "b.png"]
    (tmp_path / "store" / "7f3a9c.png").unlink()
    with pytest.raises(DatasetError, match=r"rgb/a\.png: No such file"):
        dataset.check()


def test_both_kinds(tmp_path):
    for name in "ab":
        write_image(tmp_path / "rgb" / f"{name}.png")
    write_npy(tmp_path / "depth" / "a.npy", np.full((6, 9), 3, np.float32))
    write_png(tmp_path / "depth" / "b.png", 512)
    dataset = open_train(tmp_path, depth_scale=256)
    dataset.check()
    assert [frame.depth[0, 0] for frame in dataset] == [3, 2]


def test_parts(tmp_path):
    for part, name in (("train", "a"), ("val", "b")):
        write_image(tmp_path / part / "rgb" / f"{name}.png")
        write_png(tmp_path / part / "depth" / f"{name}.png", 1)
    for part, name in (("train", "a.png"), ("val", "b.png")):
        dataset = open_folder(tmp_path, part=part, split=None, depth_scale=1)
        assert list(dataset.files) == [name]
    with pytest.raises(DatasetError, match="has no folder named rgb, image or images"):
        open_folder(tmp_path, part="test", split=None, depth_scale=1)


def test_split(tmp_path):
    for name in "abc":
        write_image(tmp_path / "x" / f"{name}.jpg")
        write_png(tmp_path / "y" / f"{name}_d.png", 1)
    (tmp_path / "s.txt").write_text("x/c.jpg y/c_d.png\nx/a.jpg y/a_d.png\n")
    dataset = open_train(tmp_path, split=tmp_path / "s.txt", depth_scale=1)
    assert list(dataset.files) == ["x/a.jpg", "x/c.jpg"]


@pytest.mark.parametrize(
    ("images", "depths", "message"),
    [
        (["a.png", "b.png", "c.png"], ["b.png"], r"a\.png has no depth, like 2 of 3 images"),
        (["a.png"], ["a.png", "z.npy"], r"z\.npy has no image, like 1 of 2 depth files"),
        (["a.png"], ["a.npy", "a.png"], r"a\.npy and .*a\.png are depth of the same image"),
        (["readme.txt"], ["readme.txt"], "are empty"),
    ],
    ids=["image-alone", "depth-alone", "two-depths", "empty"],
)
def test_files_that_do_not_match(tmp_path, images, depths, message):
    for folder, names in (("rgb", images), ("depth", depths)):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).touch()
    with pytest.raises(DatasetError, match=message):
        open_train(tmp_path, depth_scale=1000)


def test_unknown_layout(tmp_path):
    with pytest.raises(DatasetError, match="has no folder named rgb, image or images"):
        open_train(tmp_path, depth_scale=1000)
    (tmp_path / "rgb").mkdir()
    with pytest.raises(DatasetError, match="has no folder named depth or depths"):
        open_train(tmp_path, depth_scale=1000)


def test_png_needs_a_scale(tmp_path):
    write_image(tmp_path / "rgb" / "a.png")
    write_png(tmp_path / "depth" / "a.png", 1)
    with pytest.raises(DatasetError, match="depth_scale must be their steps"):
        open_train(tmp_path)
    for scale in (0, -256, np.nan, np.inf):
        with pytest.raises(DatasetError, match="depth_scale must be positive, got"):
            open_train(tmp_path, depth_scale=scale)


def test_split_with_another_kind_of_depth(tmp_path):
    write_image(tmp_path / "a.png")
    (tmp_path / "a.exr").touch()
    (tmp_path / "s.txt").write_text("a.png a.exr\n")
    with pytest.raises(DatasetError, match=r"a\.exr is neither a PNG nor a NumPy"):
        open_train(tmp_path, split=tmp_path / "s.txt", depth_scale=1)


def make_float64(path):
    np.save(path, np.ones((6, 9)))


def make_three_dimensional(path):
    np.save(path, np.ones((6, 9, 1), np.float32))


def make_pickle(path):
    np.save(path, np.array([[{}]], object))


def make_archive(path):
    with path.open("wb") as file:
        np.savez(file, depth=np.ones((6, 9), np.float32))


def make_cut(path):
    np.save(path, np.ones((6, 9), np.float32))
    path.write_bytes(path.read_bytes()[:-40])


def make_empty(path):
    path.touch()


@pytest.mark.parametrize(
    "make",
    [make_float64, make_three_dimensional, make_pickle, make_archive, make_cut, make_empty],
    ids=lambda make: make.__name__[5:],
)
def test_bad_numpy_file(tmp_path, make):
    write_image(tmp_path / "rgb" / "a.png")
    (tmp_path / "depth").mkdir()
    make(tmp_path / "depth" / "a.npy")
    dataset = open_train(tmp_path)
    for use in (dataset.check, lambda: dataset[0]):
        with pytest.raises(DatasetError, match=r"a\.npy"):
            use()


def two_with_cameras(root, table):
    for name in ("a.png", "b.jpg"):
        write_image(root / "rgb" / name)
        write_png((root / "depth" / name).with_suffix(".png"), 2500)
    (root / "frames.csv").write_bytes(table.encode())
    return open_train(root, depth_scale=1000)


@pytest.mark.parametrize("start", ["", "\ufeff"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["Unix", "Windows"])
def test_a_table_of_cameras(tmp_path, start, end):
    rows = [
        "licence,name,fx,fy,cx,cy,width,height",
        "mine,b,100,101,4,2.5,9,6",
        "mine,a.png,50,50,4,3,,",
        "mine,not here,1,1,1,1,1,1",
    ]
    dataset = two_with_cameras(tmp_path, start + end.join(rows) + end)
    first, second = dataset[0].camera, dataset[1].camera
    assert (first.fx, first.cx, first.width, first.height) == (50, 4, 9, 6)
    assert (second.fx, second.fy, second.cx, second.cy) == (100, 101, 4, 2.5)
    (tmp_path / "split.txt").write_text("rgb/b.jpg depth/b.png\n")
    split = open_train(tmp_path, split=tmp_path / "split.txt", depth_scale=1000)
    assert split[0].camera == second


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("name,fx,fy,cx\na,1,1,1\nb,1,1,1\n", r"frames\.csv has no column cy"),
        ("", r"frames\.csv has no column cx"),
        ("name,fx,fy,cx,cy\na,1,1,1,1\n", r"frames\.csv has no row for .*b\.jpg"),
        ("name,fx,fy,cx,cy\na,1,1,1,1\nb,1,one,1,1\n", r"frames\.csv, line 3: .*one"),
        ("name,fx,fy,cx,cy\na,1,1,1,1\nb,1\n", r"frames\.csv, line 3"),
        ("name,fx,fy,cx,cy\na,1,1,1,1\na,2,2,2,2\n", "line 3: a has a row already, line 2"),
        ("name,fx,fy,cx,cy\na,0,1,1,1\nb,1,1,1,1\n", "line 2: fx and fy must be positive"),
        ("name,fx,fy,cx,cy\na,1,1,nan,1\nb,1,1,1,1\n", "all finite, got 1, 1, nan and 1"),
        ("n\0a\0m\0e\0", r"cannot read table .*frames\.csv: it is UTF-16"),
    ],
)
def test_bad_table_of_cameras(tmp_path, table, message):
    with pytest.raises(DatasetError, match=message):
        two_with_cameras(tmp_path, table)


def test_cameras_of_other_images_are_refused(tmp_path):
    table = "name,fx,fy,cx,cy,width,height\na,1,1,1,1,18,12\nb,1,1,1,1,9,6\n"
    dataset = two_with_cameras(tmp_path, table)
    with pytest.raises(DatasetError, match=r"a\.png has size 9x6, its intrinsics are of 18x12"):
        dataset[0]
    assert dataset[1].camera.fx == 1
