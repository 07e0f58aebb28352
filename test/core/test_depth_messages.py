import struct
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import compressed_message, message

from depthformer_core.bags.conversion import ConversionError
from depthformer_core.bags.depth_messages import (
    compressed_to_depth,
    depth_encoding,
    depth_truth,
    image_to_depth,
)
from depthformer_core.bags.image_messages import MAX_PIXELS

NAN, INF = np.nan, np.inf


def image_of(values: Any, encoding: str, *, padding: int = 0, bigendian: int = 0) -> Any:
    kind = {"32FC1": "f4", "16UC1": "u2"}.get(encoding, "u1")
    samples = np.array(values, (">" if bigendian else "<") + kind)
    width = samples.shape[1]
    return message(samples, encoding, width=width, padding=padding, bigendian=bigendian)


def png_of(pixels: Any) -> bytes:
    return bytes(cv2.imencode(".png", pixels)[1])


@pytest.mark.parametrize("bigendian", [0, 1], ids=["little", "big"])
@pytest.mark.parametrize("padding", [0, 3], ids=["exact", "padded"])
@pytest.mark.parametrize(
    ("encoding", "values", "depth", "truth"),
    [
        (
            "32FC1",
            [[1.5, NAN, INF], [0.0, -2.0, 80.25]],
            [[1.5, NAN, INF], [0.0, -2.0, 80.25]],
            [[1.5, 0, INF], [0, 0, 80.25]],
        ),
        (
            "16UC1",
            [[1500, 0, 65535], [1, 256, 255]],
            [[1.5, NAN, 65.535], [0.001, 0.256, 0.255]],
            [[1.5, 0, 65.535], [0.001, 0.256, 0.255]],
        ),
    ],
    ids=["metres", "millimetres"],
)
def test_raw(
    encoding: str, values: Any, depth: Any, truth: Any, padding: int, bigendian: int
) -> None:
    image = image_of(values, encoding, padding=padding, bigendian=bigendian)
    for read, wanted in ((image_to_depth(image), depth), (depth_truth(image), truth)):
        assert read.dtype == np.dtype("=f4")
        np.testing.assert_array_equal(read, np.array(wanted, np.float32))


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"encoding": "mono16"}, "encoding of a depth image must be 32FC1 or 16UC1, got 'mono16'"),
        ({"encoding": "rgb8"}, "got 'rgb8'"),
        ({"encoding": "64FC1"}, "got '64FC1'"),
        ({"width": 0}, "width is 0"),
        ({"step": 7}, "step 7 is less than the 8 bytes"),
        ({"step": 9}, "data has 16 bytes, step 9 and height 2 make 18"),
        ({"height": 3}, "data has 16 bytes"),
        ({"is_bigendian": 2}, "is_bigendian must be 0 or 1, got 2"),
        ({"width": 2**31, "step": 0}, str(MAX_PIXELS)),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_images_are_refused_with_the_field(fields: dict[str, Any], text: str) -> None:
    image = image_of([[1.0, 2.0], [3.0, 4.0]], "32FC1")
    for name, value in fields.items():
        setattr(image, name, value)
    with pytest.raises(ConversionError) as caught:
        depth_truth(image)
    assert text in str(caught.value)
    assert str(caught.value).startswith(f"{caught.value.field} ")


MILLIMETRES = np.array([[0, 1, 1500], [65535, 256, 4000]], np.uint16)
METRES = np.array([[NAN, 0.001, 1.5], [65.535, 0.256, 4.0]], np.float32)
RVL_OF_MILLIMETRES = bytes.fromhex("5eee2e15 ff3daf89 e18d38ef")

# As compressed_depth_image_transport quantises by default: 100 * 101, and 1 - that / 10 metres.
SCALE, OFFSET = 10100.0, -1009.0
STEPS = np.array([[0, 19191, 9091], [3031, 1011, 11]], np.uint16)
RVL_OF_STEPS = bytes.fromhex("91faed15 ad4fbffc f9f7f8f2 000000f3")
DEPTH = np.array([[NAN, 0.5, 1.0], [2.5, 5.0, 9.9019604]], np.float32)


def config(scale: float = 0.0, offset: float = 0.0) -> bytes:
    return struct.pack("<iff", 0, scale, offset)


def rvl_of(code: bytes, *, width: int = 3, height: int = 2) -> bytes:
    return struct.pack("<II", width, height) + code


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("16UC1; compressedDepth png", config() + png_of(MILLIMETRES)),
        ("16UC1; compressedDepth rvl", config() + rvl_of(RVL_OF_MILLIMETRES)),
        ("16UC1; compressedDepth", config() + png_of(MILLIMETRES)),
        ("16UC1; compressedDepth ", config() + png_of(MILLIMETRES)),
        ("16UC1", config() + png_of(MILLIMETRES)),
        ("16UC1;compressedDepth rvl", config() + rvl_of(RVL_OF_MILLIMETRES)),
        ("16uc1; compresseddepth RVL", config() + rvl_of(RVL_OF_MILLIMETRES)),
        ("16UC1; compressedDepth png", config() + png_of(MILLIMETRES) + b"\r\n\0"),
        ("16UC1; png compressed ", png_of(MILLIMETRES)),
        ("16UC1; png compressed 16UC1", png_of(MILLIMETRES)),
        ("16UC1; png", png_of(MILLIMETRES)),
        ("16UC1", png_of(MILLIMETRES)),
        ("png", png_of(MILLIMETRES)),
        # Some write the file without what should be before it.
        ("16UC1; compressedDepth png", png_of(MILLIMETRES)),
    ],
)
def test_compressed_millimetres(name: str, data: bytes) -> None:
    message = compressed_message(data, name)
    read = compressed_to_depth(message)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, METRES)
    np.testing.assert_array_equal(depth_truth(message), np.nan_to_num(METRES))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("32FC1; compressedDepth png", png_of(STEPS)),
        ("32FC1; compressedDepth", png_of(STEPS)),
        ("32FC1", png_of(STEPS)),
        ("32FC1; compressedDepth rvl", rvl_of(RVL_OF_STEPS)),
    ],
)
def test_compressed_metres(name: str, data: bytes) -> None:
    message = compressed_message(config(SCALE, OFFSET) + data, name)
    read = compressed_to_depth(message)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, DEPTH)
    np.testing.assert_array_equal(depth_truth(message), np.nan_to_num(DEPTH))


def test_a_step_of_no_inverse_is_infinitely_far() -> None:
    data = config(100.0, 1.0) + png_of(np.array([[0, 1, 2]], np.uint16))
    message = compressed_message(data, "32FC1; compressedDepth png")
    np.testing.assert_array_equal(depth_truth(message), [[0, INF, 100]])


BYTES = MILLIMETRES.astype(np.uint8)
HUGE = png_of(MILLIMETRES)
HUGE = HUGE[:16] + struct.pack(">II", 60000, 60000) + HUGE[24:]


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        pytest.param("bgr8; jpeg compressed bgr8", png_of(MILLIMETRES),
                     "format of a depth image must begin with 32FC1 or 16UC1, got 'bgr8; jpeg",
                     id="colours"),
        pytest.param("mono16; png compressed ", png_of(MILLIMETRES), "'mono16", id="mono16"),
        pytest.param("", png_of(MILLIMETRES), "got ''", id="no format"),
        pytest.param("32FC1; png compressed ", png_of(MILLIMETRES), "no metres",
                     id="png of metres"),
        pytest.param("32FC1; jpeg compressed ", bytes(cv2.imencode(".jpg", BYTES)[1]), "no metres",
                     id="jpeg of metres"),
        pytest.param("16UC1; jpeg compressed mono8", bytes(cv2.imencode(".jpg", BYTES)[1]),
                     "must have one channel of 16 bits to be depth, got 1 of 8", id="jpeg"),
        pytest.param("16UC1; png compressed ", png_of(BYTES), "got 1 of 8", id="8 bits"),
        pytest.param("16UC1; png compressed ", png_of(np.zeros((4, 4, 3), np.uint16)),
                     "got 3 of 16", id="three channels"),
        pytest.param("png", png_of(BYTES), "got 1 of 8", id="png of 8 bits"),
        pytest.param("png", config() + png_of(MILLIMETRES), "holds no depth", id="no encoding"),
        pytest.param("16UC1; compressedDepth png", b"", "0 bytes holds no depth", id="empty"),
        pytest.param("16UC1; compressedDepth png", config(), "12 bytes holds no depth",
                     id="nothing behind"),
        pytest.param("16UC1; compressedDepth png", config() + png_of(BYTES), "got 1 of 8",
                     id="8 bits behind"),
        pytest.param("16UC1; compressedDepth png", config() + png_of(MILLIMETRES)[:-12],
                     "cut off", id="cut off"),
        pytest.param("16UC1; compressedDepth png", config() + HUGE, str(MAX_PIXELS), id="huge png"),
        pytest.param("16UC1; png compressed ", HUGE, str(MAX_PIXELS), id="huge plain png"),
        pytest.param("16UC1; compressedDepth png", config() + rvl_of(RVL_OF_MILLIMETRES),
                     "neither JPEG nor PNG", id="rvl said to be png"),
        pytest.param("16UC1; compressedDepth rvl", config() + png_of(MILLIMETRES),
                     "more than", id="png said to be rvl"),
        pytest.param("16UC1; compressedDepth rvl", config() + bytes(7), "of RVL is cut off",
                     id="rvl before size"),
        pytest.param("16UC1; compressedDepth rvl", config() + bytes(8), "width is 0",
                     id="rvl of no size"),
        pytest.param("16UC1; compressedDepth rvl", config() + b"\xff" * 20, str(MAX_PIXELS),
                     id="huge rvl"),
        pytest.param("16UC1; compressedDepth rvl", config() + rvl_of(RVL_OF_MILLIMETRES)[:-4],
                     "of RVL is cut off or damaged", id="rvl cut off"),
        pytest.param("32FC1; compressedDepth png", config() + png_of(MILLIMETRES),
                     "quantization of no meaning: 0.0, 0.0", id="no quantization"),
        pytest.param("32FC1; compressedDepth png", config(NAN, 1.0) + png_of(MILLIMETRES),
                     "quantization of no meaning: nan", id="nan quantization"),
        pytest.param("32FC1; compressedDepth png", config(1.0, INF) + png_of(MILLIMETRES),
                     "quantization of no meaning: 1.0, inf", id="infinite quantization"),
        pytest.param("32FC1; tiff compressed ", b"II*\0" + bytes(60), "neither JPEG nor PNG",
                     id="tiff"),
    ],
)  # fmt: skip
def test_what_is_no_depth_is_refused(name: str, data: bytes, text: str) -> None:
    with pytest.raises(ConversionError) as caught:
        depth_truth(compressed_message(data, name))
    assert text in str(caught.value)
    assert str(caught.value).startswith(f"{caught.value.field} ")
    assert len(str(caught.value)) < 300


@settings(max_examples=200, deadline=None)
@given(
    name=st.sampled_from(
        ["16UC1; compressedDepth png", "32FC1; compressedDepth rvl", "16UC1; png compressed "]
    ),
    start=st.sampled_from(
        [
            config(SCALE, OFFSET) + png_of(MILLIMETRES),
            config(SCALE, OFFSET) + rvl_of(RVL_OF_MILLIMETRES),
            png_of(MILLIMETRES),
        ]
    ),
    place=st.integers(0, 100),
    inserted=st.binary(max_size=20),
)
def test_damaged_depth_is_read_or_refused(
    name: str, start: bytes, place: int, inserted: bytes
) -> None:
    data = start[:place] + inserted + start[place + len(inserted) :]
    try:
        truth = depth_truth(compressed_message(data, name))
    except ConversionError:
        return
    assert truth.dtype == np.float32
    assert truth.ndim == 2
    assert (truth >= 0).all()


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("16UC1; compressedDepth png", "16UC1"),
        ("32FC1; compressedDepth rvl", "32FC1"),
        ("16UC1; png compressed ", "16UC1"),
        ("16UC1; jpeg compressed mono8", "16UC1"),
        ("16uc1;png compressed", "16UC1"),
        ("32FC1", "32FC1"),
        ("mono16; png compressed ", None),
        ("16UC3; png compressed bgr16", None),
        ("bgr8; jpeg compressed bgr8", None),
        ("png", None),
        ("jpeg", None),
        ("", None),
        ("; 16UC1", None),
    ],
)
def test_encoding_of_compressed_depth(name: str, encoding: str | None) -> None:
    assert depth_encoding(compressed_message(b"", name)) == encoding
