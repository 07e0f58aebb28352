"""Files for KITTI's server."""

import os
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from depthformer_core.data.dataset import Frame
from depthformer_core.data.images import write_depth_png
from depthformer_core.evaluation.submission import write_submission

RGB = np.zeros((6, 8, 3), np.uint8)


def make_frames(*files: str) -> list[Frame]:
    return [Frame(file, RGB, None, None) for file in files]


FRAMES = make_frames("image/0000000000.png", "image/0000000001.jpg")


def ramp(*_: Any) -> np.ndarray[Any, Any]:
    return np.linspace(1 / 256, 255.9, 48).reshape(6, 8)


def test_submission_holds_metres_times_256(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "submission"
    archive = write_submission(ramp, FRAMES, folder)
    assert archive == folder / "submission.zip"
    names = ["0000000000.png", "0000000001.png"]
    assert sorted(path.name for path in folder.iterdir()) == [*names, "submission.zip"]
    with zipfile.ZipFile(archive) as files:
        assert files.testzip() is None
        assert files.namelist() == names
        for name in names:
            data = files.read(name)
            assert data == (folder / name).read_bytes()
            steps = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
            assert steps is not None
            assert steps.dtype == np.uint16
            np.testing.assert_array_equal(steps, np.rint(ramp() * 256))


@pytest.mark.parametrize(
    ("value", "shown"),
    [(np.nan, "nan"), (0.0, "0.0"), (0.0019, "0.0019"), (256.0, "256.0"), (np.inf, "inf")],
    ids=["none", "zero", "rounds to zero", "too far", "infinite"],
)
def test_gaps_are_named_and_leave_no_archive(tmp_path: Path, value: float, shown: str) -> None:
    def gap(*_: Any) -> np.ndarray[Any, Any]:
        depth = np.full((6, 8), 5.0)
        depth[2, 3] = value
        return depth

    write_submission(ramp, FRAMES, tmp_path)
    with pytest.raises(ValueError, match=r"image/0000000000\.png has 1 pixels") as caught:
        write_submission(gap, FRAMES, tmp_path)
    assert f"row 2, column 3 has {shown}" in str(caught.value)
    assert not (tmp_path / "submission.zip").exists()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("frames", "predict", "message"),
    [
        ([], ramp, "no image"),
        (make_frames("a/1.png", "b/1.jpg"), ramp, r"a/1\.png and b/1\.jpg would both .* 1\.png"),
        (FRAMES, lambda *_: np.ones((8, 6)), r"must have shape \(6, 8\), got \(8, 6\)"),
        (FRAMES, lambda *_: np.ones((6, 8), np.uint16), "floating-point .* got uint16"),
    ],
    ids=["none", "one name", "shape", "type"],
)
def test_what_cannot_be_submitted(
    tmp_path: Path, frames: list[Frame], predict: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write_submission(predict, frames, tmp_path)
    assert not (tmp_path / "submission.zip").exists()


def test_names_that_are_no_text_lose_no_submission(tmp_path: Path) -> None:
    frames = make_frames("image/bild\udce9.png", "image/🚗 #1.png")
    try:
        archive = write_submission(ramp, frames, tmp_path)
    except OSError as error:
        pytest.skip(f"no such name here: {error}")
    with zipfile.ZipFile(archive) as files:
        assert files.namelist() == [r"bild\udce9.png", "🚗 #1.png"]


def test_a_clock_that_was_never_set_loses_no_submission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of robots without a battery for it: ZIP knows no time before 1980."""

    def write_in_1970(path: Path, *arguments: Any, **options: Any) -> None:
        write_depth_png(path, *arguments, **options)
        os.utime(path, (0, 0))

    monkeypatch.setattr("depthformer_core.evaluation.submission.write_depth_png", write_in_1970)
    with zipfile.ZipFile(write_submission(ramp, FRAMES, tmp_path)) as files:
        assert len(files.namelist()) == 2
