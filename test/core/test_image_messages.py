"""Raw images of cameras."""

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import (
    BAYER,
    encode,
    image_of,
    message,
    picture,
    studio_yuv,
)

from depthformer_core.bags.conversion import ConversionError
from depthformer_core.bags.image_messages import MAX_PIXELS, image_to_rgb

EIGHT_BITS = [
    *("mono8", "8UC1", "rgb8", "bgr8", "rgba8", "bgra8", "8UC3", "8UC4"),
    *(f"bayer_{pattern}8" for pattern in BAYER),
    *("yuv422", "uyvy", "yuv422_yuy2", "yuyv"),
]


SIXTEEN_BITS = [
    *("mono16", "rgb16", "bgr16", "rgba16", "bgra16", "16UC3", "16UC4"),
    *(f"bayer_{pattern}16" for pattern in BAYER),
]


def expected(rgb: Any, encoding: str) -> Any:
    if encoding.startswith(("mono", "8UC1")):
        return np.repeat(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=-1)
    return rgb


def tolerance(encoding: str) -> int:
    return 12 if encoding.startswith(("bayer", "yu", "uyvy")) else 0


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("encoding", EIGHT_BITS)
def test_eight_bits(encoding: str, padding: int) -> None:
    rgb = picture()
    image = message(encode(rgb, encoding), encoding, width=rgb.shape[1], padding=padding)
    read = image_to_rgb(image)
    assert (read.shape, read.dtype) == (rgb.shape, np.uint8)
    # The outermost pixels of a mosaic have too few neighbours.
    inner = (slice(1, -1), slice(1, -1)) if encoding.startswith("bayer") else ...
    difference = np.abs(read.astype(int) - expected(rgb, encoding))[inner]
    assert difference.max() <= tolerance(encoding)


@pytest.mark.parametrize("bigendian", [0, 1])
@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("encoding", SIXTEEN_BITS)
def test_sixteen_bits(encoding: str, padding: int, bigendian: int) -> None:
    rgb = picture()
    eight = encoding.replace("16", "8")  # 16UC3 is of 8UC3
    upper = encode(rgb, eight)
    # The lower bytes are another picture, for who takes them for the upper ones.
    wide = upper.astype(np.uint16) << 8 | (255 - upper)
    samples = wide.astype(">u2" if bigendian else "<u2")
    width = rgb.shape[1]
    image = message(samples, encoding, width=width, padding=padding, bigendian=bigendian)
    small = message(encode(rgb, eight), eight, width=width)
    np.testing.assert_array_equal(image_to_rgb(image), image_to_rgb(small))


PLANAR = ["nv12", "nv21", "i420", "yuv420", "nv24"]


def planar_message(rgb: Any, encoding: str, *, padding: int = 0) -> Any:
    """Planes of luma and chroma one behind the other, all with rows of padding."""
    luma, u, v = studio_yuv(rgb)
    step = luma.shape[1] + padding
    if encoding != "nv24":
        u, v = u[0::2, 0::2], v[0::2, 0::2]
    if encoding in ("i420", "yuv420"):
        planes, steps = [luma, u, v], [step, step // 2, step // 2]
    else:
        pairs = np.stack((v, u) if encoding == "nv21" else (u, v), axis=-1)
        chroma = pairs.reshape(len(pairs), -1)
        planes, steps = [luma, chroma], [step, step * chroma.shape[1] // luma.shape[1]]
    data = b"".join(
        np.pad(plane, ((0, 0), (0, size - plane.shape[1])), constant_values=99).tobytes()
        for plane, size in zip(planes, steps, strict=True)
    )
    height, width = luma.shape
    return image_of(data, encoding, width=width, height=height, step=step)


@pytest.mark.parametrize("padding", [0, 6], ids=["exact", "padded"])
@pytest.mark.parametrize("encoding", PLANAR)
def test_planes(encoding: str, padding: int) -> None:
    rgb = picture(4, 6).repeat(2, axis=0).repeat(2, axis=1)  # four pixels share their chroma
    read = image_to_rgb(planar_message(rgb, encoding, padding=padding))
    assert (read.shape, read.dtype) == (rgb.shape, np.uint8)
    assert np.abs(read.astype(int) - rgb).max() <= 2


def test_nv24_is_of_the_same_range_and_matrix_as_nv12() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (16, 20, 3), np.uint8)
    flat = colours.repeat(2, axis=0).repeat(2, axis=1)
    full, shared = (image_to_rgb(planar_message(flat, name)) for name in ("nv24", "nv12"))
    np.testing.assert_array_equal(full, shared)


def test_nv24_may_be_of_any_size() -> None:
    rgb = picture(7, 9)
    read = image_to_rgb(planar_message(rgb, "nv24", padding=1))
    assert np.abs(read.astype(int) - rgb).max() <= 2


@pytest.mark.parametrize("encoding", PLANAR[:4])
@pytest.mark.parametrize(
    ("fields", "text"),
    [
        pytest.param({"width": 9}, "width must be even", id="odd width"),
        pytest.param({"height": 7}, "height must be even", id="odd height"),
        pytest.param({"step": 11}, "step 11 is less", id="short step"),
        pytest.param({"step": 14}, "data has 144 bytes", id="long step"),
        pytest.param({"height": 10}, "make 180", id="short data"),
        pytest.param({"height": 12}, "data has 144 bytes", id="height of all planes"),
        pytest.param({"data": np.zeros(96, np.uint8)}, "data has 96 bytes", id="luma alone"),
    ],
)
def test_bad_planes_are_refused(encoding: str, fields: dict[str, Any], text: str) -> None:
    image = planar_message(picture(8, 12), encoding)
    for name, value in fields.items():
        setattr(image, name, value)
    with pytest.raises(ConversionError) as caught:
        image_to_rgb(image)
    assert text in str(caught.value)
    assert str(caught.value).startswith(f"{caught.value.field} ")


def test_a_chroma_row_of_half_a_byte_is_refused() -> None:
    image = planar_message(picture(8, 12), "i420")
    image.step = 13
    with pytest.raises(ConversionError, match="step must be even for i420, got 13"):
        image_to_rgb(image)


def changed(**fields: Any) -> Any:
    image = message(picture(), "rgb8", width=10)
    for name, value in fields.items():
        setattr(image, name, value)
    return image


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        pytest.param({"encoding": "16UC1"}, "encoding '16UC1'", id="depth encoding"),
        pytest.param({"encoding": "32FC1"}, "encoding '32FC1'", id="depth in metres"),
        pytest.param({"encoding": "bayer_rggb12"}, "encoding 'bayer_rggb12'", id="packed bayer"),
        pytest.param({"encoding": "8UC2"}, "encoding '8UC2'", id="two channels"),
        pytest.param({"encoding": ""}, "encoding ''", id="no encoding"),
        pytest.param({"encoding": "rgb16"}, "step 30 is less than the 60", id="wider pixels"),
        pytest.param({"height": 0}, "height is 0", id="no rows"),
        pytest.param({"width": 0}, "width is 0", id="no columns"),
        pytest.param({"step": 0}, "step 0 is less", id="no step"),
        pytest.param({"step": 29}, "step 29 is less", id="short step"),
        pytest.param({"step": 31}, "data has 240 bytes", id="long step"),
        pytest.param({"height": 9}, "data has 240 bytes", id="short data"),
        pytest.param({"height": 7}, "data has 240 bytes", id="long data"),
        pytest.param({"data": np.zeros(0, np.uint8)}, "data has 0 bytes", id="no data"),
        pytest.param({"width": 2**32 - 1, "height": 2**32 - 1}, str(MAX_PIXELS), id="huge"),
        pytest.param({"width": 2**31, "step": 0}, str(MAX_PIXELS), id="huge width"),
        pytest.param({"encoding": "mono16", "is_bigendian": 7}, "is_bigendian", id="byte order"),
        pytest.param(
            {"encoding": "yuv422", "width": 9, "height": 8}, "encoding yuv422", id="odd yuv"
        ),
    ],
)
def test_bad_images_are_refused_with_the_field(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(ConversionError) as caught:
        image_to_rgb(changed(**fields))
    assert text in str(caught.value)
    assert str(caught.value).startswith(f"{caught.value.field} ")


def test_an_endless_text_is_cut_in_the_error() -> None:
    with pytest.raises(ConversionError) as caught:
        image_to_rgb(changed(encoding="rgb8\n" * 10**5))
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


@settings(max_examples=300, deadline=None)
@given(
    encoding=st.sampled_from([*EIGHT_BITS, *SIXTEEN_BITS, *PLANAR, "16UC1", "nonsense"]),
    width=st.integers(0, 9) | st.integers(0, 2**32 - 1),
    height=st.integers(0, 9) | st.integers(0, 2**32 - 1),
    step=st.integers(0, 80) | st.integers(0, 2**32 - 1),
    size=st.none() | st.integers(0, 600),
    bigendian=st.integers(0, 255),
)
def test_an_image_is_read_or_refused(
    encoding: str, width: int, height: int, step: int, size: int | None, bigendian: int
) -> None:
    data = bytes(min(step * height, 10**5) if size is None else size)
    image = image_of(data, encoding, width=width, height=height, step=step, bigendian=bigendian)
    try:
        rgb = image_to_rgb(image)
    except ConversionError:
        return
    assert (rgb.shape, rgb.dtype) == ((height, width, 3), np.uint8)
