import timeit
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthformer_core.bags.rvl import RvlError, decode_rvl, encode_rvl


def reference(image: Any) -> bytes:
    """Reference encoder, pixel by pixel: three bits a nibble, eight of which make 32 bits."""
    pixels = [int(value) for value in image.ravel()]
    nibbles: list[int] = []

    def put(value: int) -> None:
        while True:
            value, bits = value >> 3, value & 7
            nibbles.append(bits | 8 if value else bits)
            if not value:
                return

    place, before = 0, 0
    while place < len(pixels):
        start = place
        while place < len(pixels) and not pixels[place]:
            place += 1
        put(place - start)
        start = place
        while place < len(pixels) and pixels[place]:
            place += 1
        put(place - start)
        for value in pixels[start:place]:
            difference, before = value - before, value
            put(2 * difference if difference >= 0 else -2 * difference - 1)
    nibbles += [0] * (-len(nibbles) % 8)
    codes = np.array(nibbles, np.uint32).reshape(-1, 8) << np.arange(28, -1, -4, np.uint32)
    return codes.sum(axis=1, dtype=np.uint32).astype("<u4").tobytes()


def scene(height: int, width: int) -> Any:
    """Smooth depth with holes, as of cameras."""
    rng = np.random.default_rng(0)
    depth = np.linspace(500, 4000, height * width).reshape(height, width)
    depth = depth + rng.integers(-9, 9, (height, width))
    return np.where(rng.random((height, width)) < 0.2, 0, depth).astype(np.uint16)


IMAGES = {
    "holes": scene(24, 40),
    "no hole": np.full((5, 7), 42, np.uint16),
    "nothing": np.zeros((5, 7), np.uint16),
    "one pixel": np.full((1, 1), 65535, np.uint16),
    "extremes": np.array([[0, 65535, 1, 65535, 0, 1, 0, 0]], np.uint16),
    "hole at the end": np.array([[1, 2], [0, 0]], np.uint16),
    "checkers": np.indices((9, 9)).sum(axis=0).astype(np.uint16) % 2 * 1000,
    "noise": np.random.default_rng(0).integers(0, 65536, (30, 30)).astype(np.uint16),
}


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
def test_there_and_back(image: Any) -> None:
    height, width = image.shape
    read = decode_rvl(reference(image), width=width, height=height)
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, image)


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
def test_the_code_is_the_reference(image: Any) -> None:
    assert encode_rvl(image) == reference(image)
    assert encode_rvl(image.T) == reference(image.T)


def test_a_code_by_hand() -> None:
    # One zero, two that are not: +5 (10 is 2, then 1) and -1 (1); then nothing but padding.
    code = 0x12A11000
    data = code.to_bytes(4, "little")
    image = np.array([[0, 5, 4]], np.uint16)
    np.testing.assert_array_equal(decode_rvl(data, width=3, height=1), image)
    assert encode_rvl(image) == data


@settings(max_examples=200, deadline=None)
@given(values=st.lists(st.integers(0, 3) | st.integers(0, 65535), min_size=1, max_size=60))
def test_any_image_there_and_back(values: list[int]) -> None:
    image = np.array([values], np.uint16)
    data = encode_rvl(image)
    assert data == reference(image)
    np.testing.assert_array_equal(decode_rvl(data, width=len(values), height=1), image)


def test_bytes_behind_the_image_do_not_matter() -> None:
    image = IMAGES["holes"]
    read = decode_rvl(reference(image) + bytes(64), width=40, height=24)
    np.testing.assert_array_equal(read, image)


WHOLE = reference(IMAGES["holes"])


@pytest.mark.parametrize(
    ("data", "height"),
    [
        pytest.param(b"", 24, id="empty"),
        pytest.param(WHOLE[: len(WHOLE) // 2], 24, id="half"),
        pytest.param(WHOLE[:-4], 24, id="last 32 bits"),
        pytest.param(WHOLE[:3], 24, id="part of 32 bits"),
        pytest.param(WHOLE, 25, id="taller"),
        pytest.param(WHOLE, 23, id="lower"),
        pytest.param(bytes(400), 24, id="zeros"),
        pytest.param(b"\xff" * 400, 24, id="a number without end"),
        pytest.param(b"\x7f\xff\xff\xff" * 100, 24, id="long numbers"),
        pytest.param((0x7FFFFFFF).to_bytes(4, "little") * 100, 24, id="huge runs"),
    ],
)
def test_bad_code_is_refused(data: bytes, height: int) -> None:
    with pytest.raises(RvlError):
        decode_rvl(data, width=40, height=height)


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=200), width=st.integers(1, 40), height=st.integers(1, 40))
def test_any_code_is_read_or_refused(data: bytes, width: int, height: int) -> None:
    try:
        read = decode_rvl(data, width=width, height=height)
    except RvlError:
        return
    assert (read.shape, read.dtype) == ((height, width), np.uint16)


def test_an_image_of_a_camera_is_not_coded_pixel_by_pixel() -> None:
    """The reference is, in the same run."""
    image = scene(480, 640)
    data = reference(image)
    pixel_by_pixel = timeit.timeit(lambda: reference(image), number=1)
    at_once = timeit.repeat(lambda: decode_rvl(data, width=640, height=480), number=1, repeat=5)
    assert min(at_once) < pixel_by_pixel / 2
    at_once = timeit.repeat(lambda: encode_rvl(image), number=1, repeat=5)
    assert min(at_once) < pixel_by_pixel / 2
    np.testing.assert_array_equal(decode_rvl(data, width=640, height=480), image)
