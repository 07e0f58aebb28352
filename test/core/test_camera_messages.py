import math
import struct
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthformer_core.camera import IDENTITY, Camera
from depthformer_core.data.bag import TYPESTORE
from depthformer_core.data.camera_messages import (
    MAX_PIXELS,
    ConversionError,
    calibration_from_info,
    compressed_to_rgb,
    image_to_rgb,
    named_rectified,
)
from depthformer_core.data.messages import camera_info_message, header

BAYER = {"rggb": "RGGB", "bggr": "BGGR", "gbrg": "GBRG", "grbg": "GRBG"}
HEADER = header(stamp=7, frame_id="eye")


def image_of(
    data: bytes, encoding: str, *, width: int, height: int, step: int, bigendian: int = 0
) -> Any:
    """Image message as bags hold it: read-only, its bytes a part of the bag's."""
    return TYPESTORE.types["sensor_msgs/msg/Image"](
        header=HEADER,
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=bigendian,
        step=step,
        data=np.frombuffer(data, np.uint8),
    )


def picture(height: int = 8, width: int = 10) -> Any:
    """Smooth colours, so that demosaicing and chroma subsampling lose little."""
    down, across = np.mgrid[0:height, 0:width]
    across, down = across / width, down / height
    channels = (40 + 100 * across, 200 - 60 * down, 60 + 50 * across + 50 * down)
    return np.stack(channels, axis=-1).astype(np.uint8)


def encode(rgb: Any, encoding: str) -> Any:
    """Samples (H, bytes of a row) of a picture in an encoding of 8 bits a channel."""
    height = rgb.shape[0]
    if encoding in ("mono8", "8UC1"):
        samples = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    elif encoding.startswith("bayer"):
        letters = BAYER[encoding[6:10]]
        samples = np.empty(rgb.shape[:2], np.uint8)
        for place, letter in enumerate(letters):
            down, across = divmod(place, 2)
            samples[down::2, across::2] = rgb[down::2, across::2, "RGB".index(letter)]
    elif encoding in ("yuv422", "uyvy", "yuv422_yuy2", "yuyv"):
        yuv = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV)
        # BT.601 with the studio range that video encodings use.
        luma = (16 + yuv[..., 0] * (219 / 255)).round()
        r, g, b = (rgb[..., channel].astype(float) for channel in range(3))
        u = 128 - 0.148 * r - 0.291 * g + 0.439 * b
        v = 128 + 0.439 * r - 0.368 * g - 0.071 * b
        chroma = np.stack((u[:, 0::2], v[:, 0::2]), axis=-1).reshape(luma.shape).round()
        order = (chroma, luma) if encoding in ("yuv422", "uyvy") else (luma, chroma)
        samples = np.stack(order, axis=-1).astype(np.uint8)
    else:
        orders = {"rgb8": "RGB", "bgr8": "BGR", "rgba8": "RGBA", "bgra8": "BGRA"}
        order = {"8UC3": "BGR", "8UC4": "BGRA"}.get(encoding) or orders[encoding]
        whole = np.concatenate((rgb, np.full((*rgb.shape[:2], 1), 255, np.uint8)), axis=-1)
        samples = whole[..., ["RGBA".index(letter) for letter in order]]
    return np.ascontiguousarray(samples).reshape(height, -1)


def message(
    samples: Any, encoding: str, *, width: int, padding: int = 0, bigendian: int = 0
) -> Any:
    rows = samples.view(np.uint8).reshape(samples.shape[0], -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=99)
    height, step = rows.shape
    return image_of(
        rows.tobytes(), encoding, width=width, height=height, step=step, bigendian=bigendian
    )


EIGHT_BITS = [
    *("mono8", "8UC1", "rgb8", "bgr8", "rgba8", "bgra8", "8UC3", "8UC4"),
    *(f"bayer_{pattern}8" for pattern in BAYER),
    *("yuv422", "uyvy", "yuv422_yuy2", "yuyv"),
]
SIXTEEN_BITS = [
    *("mono16", "rgb16", "bgr16", "rgba16", "bgra16"),
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
    eight = encoding.replace("16", "8")
    upper = encode(rgb, eight)
    # The lower bytes are another picture, for who takes them for the upper ones.
    wide = upper.astype(np.uint16) << 8 | (255 - upper)
    samples = wide.astype(">u2" if bigendian else "<u2")
    width = rgb.shape[1]
    image = message(samples, encoding, width=width, padding=padding, bigendian=bigendian)
    small = message(encode(rgb, eight), eight, width=width)
    np.testing.assert_array_equal(image_to_rgb(image), image_to_rgb(small))


def changed(**fields: Any) -> Any:
    image = message(picture(), "rgb8", width=10)
    for name, value in fields.items():
        setattr(image, name, value)
    return image


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        pytest.param({"encoding": "16UC1"}, "encoding '16UC1'", id="depth encoding"),
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
    encoding=st.sampled_from([*EIGHT_BITS, *SIXTEEN_BITS, "16UC1", "nonsense"]),
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


def compressed(extension: str, rgb: Any = None) -> bytes:
    bgr = cv2.cvtColor(picture(32, 48) if rgb is None else rgb, cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(extension, bgr)[1])


def compressed_message(data: bytes) -> Any:
    return TYPESTORE.types["sensor_msgs/msg/CompressedImage"](
        header=HEADER,
        format="bgr8; jpeg compressed bgr8",
        data=np.frombuffer(data, np.uint8),
    )


@pytest.mark.parametrize("tail", [b"", b"\0" * 7], ids=["exact", "padded"])
@pytest.mark.parametrize(("extension", "tolerance"), [(".png", 0), (".jpg", 8)])
def test_compressed(extension: str, tolerance: int, tail: bytes) -> None:
    rgb = picture(32, 48)
    read = compressed_to_rgb(compressed_message(compressed(extension) + tail))
    assert (read.shape, read.dtype) == (rgb.shape, np.uint8)
    assert np.abs(read.astype(int) - rgb).max() <= tolerance


def test_compressed_mono_of_16_bits() -> None:
    grey = np.arange(0, 65536, 64, np.uint16).reshape(32, 32)
    read = compressed_to_rgb(compressed_message(bytes(cv2.imencode(".png", grey)[1])))
    assert np.abs(read[..., 0].astype(int) - (grey >> 8)).max() <= 1


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


def info(**fields: Any) -> Any:
    made = camera_info_message(Camera(640, 480, 1.0, 1.0, 0.0, 0.0), stamp=7, frame_id="eye")
    made.d = np.array([0.1, -0.2, 0.001, 0.002, 0.0])
    made.k = np.array([500.0, 0.0, 320.0, 0.0, 510.0, 240.0, 0.0, 0.0, 1.0])
    made.r = np.array(IDENTITY)
    made.p = np.array([450.0, 0.0, 310.0, -20.0, 0.0, 460.0, 230.0, 0.0, 0.0, 0.0, 1.0, 0.0])
    for name, value in fields.items():
        if name.startswith("roi_"):
            setattr(made.roi, name[4:], value)
        else:
            setattr(made, name, np.array(value) if isinstance(value, list) else value)
    return made


def test_calibration() -> None:
    calibration = calibration_from_info(info())
    assert calibration.camera == Camera(640, 480, 450.0, 460.0, 310.0, 230.0)
    assert calibration.raw_intrinsics == tuple(info().k)
    assert calibration.distortion == (0.1, -0.2, 0.001, 0.002, 0.0)
    assert not calibration.is_rectified


@pytest.mark.parametrize(
    ("fields", "camera", "raw"),
    [
        pytest.param(
            {"roi_x_offset": 100, "roi_y_offset": 50, "roi_width": 320, "roi_height": 200},
            Camera(320, 200, 450.0, 460.0, 210.0, 180.0),
            (500.0, 220.0, 510.0, 190.0),
            id="region of interest",
        ),
        pytest.param(
            {"binning_x": 2, "binning_y": 4},
            Camera(320, 120, 225.0, 115.0, 155.0, 57.5),
            (250.0, 160.0, 127.5, 60.0),
            id="binning",
        ),
        pytest.param(
            {
                **{"roi_x_offset": 100, "roi_y_offset": 50, "roi_width": 321, "roi_height": 200},
                **{"binning_x": 2, "binning_y": 2},
            },
            Camera(160, 100, 225.0, 230.0, 105.0, 90.0),
            (250.0, 110.0, 255.0, 95.0),
            id="both",
        ),
        pytest.param(
            {"p": [0.0] * 12, "r": [0.0] * 9},
            Camera(640, 480, 500.0, 510.0, 320.0, 240.0),
            (500.0, 320.0, 510.0, 240.0),
            id="monocular without p",
        ),
    ],
)
def test_calibration_of_parts(
    fields: dict[str, Any], camera: Camera, raw: tuple[float, ...]
) -> None:
    calibration = calibration_from_info(info(**fields))
    assert calibration.camera == camera
    k = calibration.raw_intrinsics
    assert (k[0], k[2], k[4], k[5]) == raw
    assert calibration.rotation == IDENTITY


def test_a_region_is_the_same_part_of_the_scene() -> None:
    whole = calibration_from_info(info()).camera
    part = calibration_from_info(
        info(roi_x_offset=64, roi_y_offset=32, roi_width=128, roi_height=96)
    ).camera
    point = np.array([0.3, -0.2, 4.0])
    np.testing.assert_allclose(part.project(point) + np.array([64, 32]), whole.project(point))


@pytest.mark.parametrize("terms", [0, 8])
def test_rational_polynomial(terms: int) -> None:
    d = [0.01 * i for i in range(terms)]
    calibration = calibration_from_info(info(distortion_model="rational_polynomial", d=d))
    assert calibration.distortion == tuple(d)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        pytest.param({"k": [0.0] * 9}, "k[0]", id="not calibrated"),
        pytest.param({"k": [math.nan] * 9}, "k has", id="nan"),
        pytest.param({"k": [-5.0, *info().k[1:]]}, "k[0]", id="negative focal"),
        pytest.param({"k": [*info().k[:4], 0.0, *info().k[5:]]}, "k[4]", id="no vertical focal"),
        pytest.param({"p": [math.inf, *info().p[1:]]}, "p has", id="infinite p"),
        pytest.param({"p": [0.0, *info().p[1:]]}, "p[0]", id="no focal in p"),
        pytest.param({"r": [2.0, *IDENTITY[1:]]}, "r is no rotation", id="r"),
        pytest.param({"d": [0.1] * 4}, "d must have 5", id="terms"),
        pytest.param({"d": [math.nan] * 5}, "d has", id="nan terms"),
        pytest.param({"d": [0.1] * 10**5}, "got 100000", id="endless terms"),
        pytest.param({"distortion_model": "equidistant"}, "'equidistant'", id="fisheye"),
        pytest.param({"distortion_model": ""}, "d must have 0", id="terms without model"),
        pytest.param({"width": 0, "height": 0}, "leave nothing of 0x0", id="no size"),
        pytest.param({"roi_x_offset": 600, "roi_width": 100}, "roi of", id="roi outside"),
        pytest.param({"binning_x": 1000}, "binning_x", id="binning"),
    ],
)
def test_bad_calibrations_are_refused_with_the_field(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(ConversionError) as caught:
        calibration_from_info(info(**fields))
    assert text in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("topic", "rectified"),
    [
        ("/camera/image_rect", True),
        ("/camera/image_rect_color/compressed", True),
        ("/camera/image_raw", False),
        ("/rectified/image/compressed", False),
        ("image", False),
    ],
)
def test_name_of_rectified_images(topic: str, rectified: bool) -> None:
    assert named_rectified(topic) == rectified
