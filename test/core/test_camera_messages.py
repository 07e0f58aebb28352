import struct
import timeit
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthformer_core.bags import TYPESTORE
from depthformer_core.bags.camera_messages import (
    MAX_PIXELS,
    ConversionError,
    compressed_to_rgb,
    image_to_rgb,
)
from depthformer_core.bags.compressed_messages import open_picture
from depthformer_core.bags.messages import header

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


def studio_yuv(rgb: Any) -> Any:
    """Luma and both chromas, BT.601 with the studio range that video encodings use."""
    r, g, b = (rgb[..., channel].astype(float) for channel in range(3))
    y = 16 + 0.257 * r + 0.504 * g + 0.098 * b
    u = 128 - 0.148 * r - 0.291 * g + 0.439 * b
    v = 128 + 0.439 * r - 0.368 * g - 0.071 * b
    return (np.clip(plane.round(), 0, 255).astype(np.uint8) for plane in (y, u, v))


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
        luma, u, v = studio_yuv(rgb)
        chroma = np.stack((u[:, 0::2], v[:, 0::2]), axis=-1).reshape(luma.shape)
        order = (chroma, luma) if encoding in ("yuv422", "uyvy") else (luma, chroma)
        samples = np.stack(order, axis=-1)
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


def compressed(extension: str, rgb: Any = None) -> bytes:
    bgr = cv2.cvtColor(picture(32, 48) if rgb is None else rgb, cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(extension, bgr)[1])


def compressed_message(data: bytes, name: str = "bgr8; jpeg compressed bgr8") -> Any:
    return TYPESTORE.types["sensor_msgs/msg/CompressedImage"](
        header=HEADER, format=name, data=np.frombuffer(data, np.uint8)
    )


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
