"""Compressed images of cameras."""

import struct
import timeit
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import (
    BAYER,
    compressed_message,
    encode,
    message,
    picture,
)

from depthformer_core.bags.compressed_messages import compressed_to_rgb, open_picture
from depthformer_core.bags.conversion import ConversionError
from depthformer_core.bags.image_messages import MAX_PIXELS, image_to_rgb


def compressed(extension: str, rgb: Any = None) -> bytes:
    bgr = cv2.cvtColor(picture(32, 48) if rgb is None else rgb, cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(extension, bgr)[1])


def progressive(rgb: Any) -> bytes:
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1])


def restarting(rgb: Any) -> bytes:
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_RST_INTERVAL, 1])[1])


def with_segment(jpeg: bytes, content: bytes, *, marker: int, before: bytes) -> bytes:
    """A JPEG with another segment before one of its own."""
    place = jpeg.rindex(before)
    size = struct.pack(">H", len(content) + 2)
    return jpeg[:place] + b"\xff" + bytes([marker]) + size + content + jpeg[place:]


SCENE = picture(32, 48)


def files(rgb: Any) -> dict[str, bytes]:
    """A picture in the kinds of files that are read."""
    png, jpeg, gradual = compressed(".png", rgb), compressed(".jpg", rgb), progressive(rgb)
    thumbnail, comment = compressed(".jpg", picture(8, 8)), b"\xff\xd9\xff\xd8"
    return {
        "png": png,
        "jpeg": jpeg,
        "progressive": gradual,
        "restarts": restarting(rgb),
        # Both hold marks of an end that is not the picture's.
        "thumbnail": with_segment(jpeg, thumbnail, marker=0xE1, before=b"\xff\xdb"),
        "comment": with_segment(gradual, comment, marker=0xFE, before=b"\xff\xda"),
    }


WHOLE = files(SCENE)


NOISE = files(np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8))


TAILS = {
    "nothing": b"",
    "zeros": bytes(7),
    "line end": b"\r\n",
    "boundary": b"\r\n--frame\r\nContent-Type: image/jpeg\r\n\r\n",
    "garbage": np.random.default_rng(0).bytes(500),
    "half a picture": compressed(".jpg")[:300],
    "rest of a picture": compressed(".jpg")[300:],
    "picture": compressed(".jpg", picture(16, 16)),
    "marks": b"\xff\xff\xff\xd8\xff\xda\xff",
}


@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS)
@pytest.mark.parametrize("name", WHOLE)
def test_compressed(name: str, tail: bytes) -> None:
    read = compressed_to_rgb(compressed_message(WHOLE[name] + tail))
    assert (read.shape, read.dtype) == (SCENE.shape, np.uint8)
    assert np.abs(read.astype(int) - SCENE).max() <= (0 if name == "png" else 8)


@pytest.mark.parametrize("tail", [b"", bytes(99), compressed(".jpg")], ids=["", "zeros", "picture"])
@pytest.mark.parametrize("share", [0.7, 0.9, 1.0])
@pytest.mark.parametrize("name", NOISE)
def test_what_is_cut_off_is_refused(name: str, share: float, tail: bytes) -> None:
    data = NOISE[name]
    end = 12 if name == "png" else 2
    with pytest.raises(ConversionError, match="cut off"):
        compressed_to_rgb(compressed_message(data[: int(share * (len(data) - end))] + tail))


def test_the_end_of_a_jpeg_is_found_quickly() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    data = compressed(".jpg", noise)
    assert len(data) > 300_000
    seconds = min(timeit.repeat(lambda: open_picture(data, message_format=""), number=1, repeat=9))
    assert seconds < 0.005  # a fifth of it, and less, on an idle machine


MOSAIC = SCENE.repeat(2, axis=0).repeat(2, axis=1)


@pytest.mark.parametrize(
    "wording",
    ["{}; {} compressed ", "{}; {} compressed", "{};{} compressed {}", "{}; {}", "{}"],
    ids=["as sent", "stripped", "named", "short", "name alone"],
)
@pytest.mark.parametrize("extension", ["jpeg", "png"])
@pytest.mark.parametrize("pattern", BAYER)
def test_compressed_mosaics(pattern: str, extension: str, wording: str) -> None:
    encoding = f"bayer_{pattern}8"
    samples = encode(MOSAIC, encoding)
    raw = image_to_rgb(message(samples, encoding, width=MOSAIC.shape[1]))
    quality = [cv2.IMWRITE_JPEG_QUALITY, 100] if extension == "jpeg" else []
    data = bytes(cv2.imencode(f".{extension}", samples, quality)[1])
    for name in (encoding, encoding.upper()):
        read = compressed_to_rgb(compressed_message(data, wording.format(name, extension, name)))
        assert np.abs(read.astype(int) - raw).max() <= (0 if extension == "png" else 8)


@pytest.mark.parametrize("pattern", BAYER)
def test_compressed_mosaics_of_16_bits(pattern: str) -> None:
    samples = encode(SCENE, f"bayer_{pattern}8")
    wide = samples.astype(np.uint16) << 8 | (255 - samples)
    data = bytes(cv2.imencode(".png", wide)[1])
    read = compressed_to_rgb(compressed_message(data, f"bayer_{pattern}16; png compressed "))
    raw = message(samples, f"bayer_{pattern}8", width=SCENE.shape[1])
    np.testing.assert_array_equal(read, image_to_rgb(raw))


def test_a_mosaic_made_grey_before_is_grey() -> None:
    grey = cv2.cvtColor(SCENE, cv2.COLOR_RGB2GRAY)
    data = bytes(cv2.imencode(".png", grey)[1])
    read = compressed_to_rgb(compressed_message(data, "bayer_rggb8; jpeg compressed mono8"))
    np.testing.assert_array_equal(read, np.repeat(grey[..., None], 3, axis=-1))


@pytest.mark.parametrize(
    ("name", "swapped"),
    [
        ("bgr8; jpeg compressed bgr8", False),
        ("rgb8; jpeg compressed bgr8", False),
        ("rgb8; jpeg compressed rgb8", True),
        ("bgr8; jpeg compressed rgb8", True),
        ("rgba8; png compressed rgba8", True),
        ("bgra8; png compressed bgra8", False),
        ("rgb16; png compressed bgr16", False),
        ("rgb16; png compressed rgb16", True),
        ("RGB8; JPEG Compressed RGB8", True),
        (" rgb8;jpeg compressed rgb8", True),
        ("rgb8;jpeg compressed bgr8", False),
        # What is stored is not said: a file of colours is of red, green and blue.
        ("rgb8; jpeg compressed ", False),
        ("rgb8; jpeg", False),
        ("rgb8", False),
        ("jpeg", False),
        ("png", False),
        ("", False),
        # The picture is of colours, whatever it should be.
        ("bayer_rggb8; jpeg compressed ", False),
        ("bayer_rggb8; jpeg compressed rgb8", False),
        ("mono8; jpeg compressed mono8", False),
        ("yuv422_yuy2; jpeg compressed bgr8", False),
        ("nonsense; " * 10**4, False),
    ],
)
def test_order_of_compressed_colours(name: str, swapped: bool) -> None:
    read = compressed_to_rgb(compressed_message(WHOLE["png"], name))
    np.testing.assert_array_equal(read, SCENE[..., ::-1] if swapped else SCENE)


@pytest.mark.parametrize("swapped", [False, True], ids=["bgra", "rgba"])
@pytest.mark.parametrize("bits", [8, 16])
def test_compressed_colours_with_alpha(bits: int, swapped: bool) -> None:
    whole = np.concatenate((SCENE[..., ::-1], np.full((32, 48, 1), 7, np.uint8)), axis=-1)
    pixels = whole if bits == 8 else whole.astype(np.uint16) << 8 | 200
    data = bytes(cv2.imencode(".png", pixels)[1])
    order = "rgba" if swapped else "bgra"
    read = compressed_to_rgb(
        compressed_message(data, f"{order}{bits}; png compressed {order}{bits}")
    )
    np.testing.assert_array_equal(read, SCENE[..., ::-1] if swapped else SCENE)


@pytest.mark.parametrize(
    "name", ["mono16; png compressed ", "mono16; png compressed mono16", "png"]
)
def test_compressed_mono_of_16_bits(name: str) -> None:
    grey = np.arange(0, 65536, 64, np.uint16).reshape(32, 32)
    data = bytes(cv2.imencode(".png", grey)[1])
    read = compressed_to_rgb(compressed_message(data, name))
    assert np.abs(read[..., 0].astype(int) - (grey >> 8)).max() <= 1


@pytest.mark.parametrize("name", ["mono8; jpeg compressed mono8", "yuv422; jpeg compressed mono8"])
def test_compressed_mono(name: str) -> None:
    grey = cv2.cvtColor(SCENE, cv2.COLOR_RGB2GRAY)
    read = compressed_to_rgb(compressed_message(bytes(cv2.imencode(".jpg", grey)[1]), name))
    assert np.abs(read.astype(int) - grey[..., None]).max() <= 8


PNG, JPEG = compressed(".png"), compressed(".jpg")


START_OF_FRAME = JPEG.index(b"\xff\xc0")


HUGE_PNG = PNG[:16] + struct.pack(">II", 60000, 60000) + PNG[24:]


HUGE_JPEG = JPEG[: START_OF_FRAME + 5] + b"\xff\xff\xff\xff" + JPEG[START_OF_FRAME + 9 :]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        pytest.param(b"", "neither JPEG nor PNG", id="empty"),
        pytest.param(b"GIF89a" + bytes(50), "neither JPEG nor PNG", id="gif"),
        pytest.param(JPEG[: len(JPEG) // 2], "cut off", id="half a jpeg"),
        pytest.param(PNG[: len(PNG) // 2], "cut off", id="half a png"),
        pytest.param(b"\xff\xd8\xff\xd9", "no frame header", id="jpeg without frame"),
        pytest.param(b"\xff\xd8" + b"\xff" * 50, "no frame header", id="jpeg of fill bytes"),
        pytest.param(JPEG[: START_OF_FRAME + 4], "no frame header", id="jpeg before size"),
        pytest.param(JPEG[:2] + b"\xff\xd0" + JPEG[2:], "marker 0xd0 before", id="jpeg restarts"),
        pytest.param(PNG[:20], "no header", id="png before size"),
        pytest.param(PNG[:25], "no header", id="png before colours"),
        pytest.param(HUGE_PNG, str(MAX_PIXELS), id="huge png"),
        pytest.param(HUGE_JPEG, str(MAX_PIXELS), id="huge jpeg"),
        pytest.param(PNG[:33] + bytes(20) + PNG[-12:], "damaged", id="damaged png"),
    ],
)
def test_bad_compressed_images_are_refused(data: bytes, text: str) -> None:
    with pytest.raises(ConversionError, match=text):
        compressed_to_rgb(compressed_message(data))


@settings(max_examples=200, deadline=None)
@given(
    start=st.sampled_from([PNG, JPEG]),
    place=st.integers(0, 300),
    inserted=st.binary(max_size=20),
)
def test_a_damaged_compressed_image_is_read_or_refused(
    start: bytes, place: int, inserted: bytes
) -> None:
    data = start[:place] + inserted + start[place + len(inserted) :]
    try:
        rgb = compressed_to_rgb(compressed_message(data))
    except ConversionError:
        return
    assert rgb.ndim == 3
    assert rgb.dtype == np.uint8
