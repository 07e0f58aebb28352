"""Masks of the pixels that count."""

import os
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from depthformer_core.errors import DepthFormerError
from depthformer_core.geometry.camera import Calibration, Camera
from depthformer_core.geometry.image_mask import ImageMask, read_mask

CAMERA = Camera(96, 64, 80.0, 81.0, 47.0, 33.0)
BENT = Calibration(CAMERA, (82.0, 0, 46.0, 0, 83.0, 31.0, 0, 0, 1), (-0.2, 0.05, 0.001, -0.001))
FLAT = Calibration(CAMERA, (80.0, 0, 47.0, 0, 81.0, 33.0, 0, 0, 1))


def bonnet() -> Any:
    """The lower part of the image is the robot itself."""
    used = np.ones((64, 96), np.bool_)
    used[50:, 20:] = False
    return used


def png(path: Path, pixels: Any) -> Path:
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return path


GREY = np.where(bonnet(), 255, 0).astype(np.uint8)


@pytest.mark.parametrize(
    "pixels",
    [
        pytest.param(GREY, id="grey"),
        pytest.param(np.minimum(GREY, 1), id="ones"),
        pytest.param(np.minimum(GREY, 1).astype(np.uint16), id="16 bits"),
        pytest.param(cv2.cvtColor(GREY, cv2.COLOR_GRAY2BGR), id="three channels"),
        pytest.param(cv2.cvtColor(GREY, cv2.COLOR_GRAY2BGRA), id="opaque"),
        pytest.param(cv2.cvtColor(GREY.astype(np.uint16), cv2.COLOR_GRAY2BGRA), id="opaque 16"),
    ],
)
def test_black_pixels_do_not_count(pixels: Any, tmp_path: Path) -> None:
    mask = read_mask(png(tmp_path / "mask.png", pixels))
    assert mask.size == (64, 96)
    np.testing.assert_array_equal(mask.hidden(None), ~bonnet())


def test_one_bit_a_pixel(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(GREY).convert("1").save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png").hidden(None), ~bonnet())


def test_a_mask_is_rectified_with_the_image() -> None:
    mask = ImageMask(bonnet())
    hidden = mask.hidden(BENT)
    # As an image of the same pattern, but where the border lies between two pixels.
    image = BENT.rectify(np.where(bonnet(), np.uint8(255), np.uint8(9)))
    np.testing.assert_array_equal(hidden[image >= 250], False)
    np.testing.assert_array_equal(hidden[(image > 1) & (image <= 12)], True)
    np.testing.assert_array_equal(hidden[~BENT.seen], True)
    between = (image > 12) & (image < 250)
    assert between.mean() < 0.05
    assert hidden[between].any()
    assert not hidden[between].all()


def test_a_mask_of_rectified_images_stays_as_it_is() -> None:
    used = bonnet()
    assert FLAT.rectify_mask(used) is used
    np.testing.assert_array_equal(ImageMask(used).hidden(FLAT), ~used)


def test_a_mask_is_rectified_once_for_each_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    rectify = Calibration.rectify_mask

    def counted(self: Calibration, mask: Any) -> Any:
        calls.append(self)
        return rectify(self, mask)

    monkeypatch.setattr(Calibration, "rectify_mask", counted)
    mask = ImageMask(bonnet())
    for calibration in (None, None, BENT, BENT, FLAT, BENT, None):
        mask.hidden(calibration)
    assert calls == [BENT, FLAT, BENT]


def test_a_calibration_of_another_size_is_refused() -> None:
    with pytest.raises(DepthFormerError, match="size 10x5, the camera 96x64"):
        ImageMask(np.ones((5, 10), np.bool_)).hidden(BENT)


COLOURS = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
GLASS = cv2.cvtColor(GREY, cv2.COLOR_GRAY2BGRA)
GLASS[0, 0, 3] = 254
WHOLE = cv2.imencode(".png", COLOURS)[1].tobytes()
HUGE = WHOLE[:16] + struct.pack(">II", 60000, 60000) + WHOLE[24:]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        pytest.param(b"", "must be a PNG file.* starts with nothing", id="empty"),
        pytest.param(b"black and white", "must be a PNG file", id="text"),
        pytest.param(cv2.imencode(".jpg", GREY)[1].tobytes(), "must be a PNG file", id="jpeg"),
        pytest.param(WHOLE[:20], "must be a PNG file", id="no header"),
        pytest.param(WHOLE[: len(WHOLE) // 2], "is damaged", id="cut off"),
        pytest.param(WHOLE[:33] + bytes(200), "is damaged", id="damaged"),
        pytest.param(HUGE, "is too large: 60000x60000", id="huge"),
        pytest.param(WHOLE, "must be black and white, it has colours", id="colours"),
        pytest.param(cv2.imencode(".png", GLASS)[1].tobytes(), "must be opaque", id="glass"),
        pytest.param(
            cv2.imencode(".png", np.zeros((9, 9), np.uint8))[1].tobytes(),
            "is black everywhere",
            id="black",
        ),
    ],
)
def test_what_is_no_mask_is_refused(data: bytes, text: str, tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    path.write_bytes(data)
    with pytest.raises(DepthFormerError, match=text) as caught:
        read_mask(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DepthFormerError, match=r"no mask at .*nowhere\.png"):
        read_mask(tmp_path / "nowhere.png")
    with pytest.raises(DepthFormerError, match="is no file"):
        read_mask(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DepthFormerError, match="is no file"):
        read_mask(tmp_path / "pipe")


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    with path.open("wb") as file:
        file.truncate(2**33)
    with pytest.raises(DepthFormerError, match="is larger than 64 MiB"):
        read_mask(path)
