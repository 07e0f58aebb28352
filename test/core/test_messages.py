import numpy as np
import pytest

from depthformer_core.camera import Camera
from depthformer_core.data.bag import TYPESTORE
from depthformer_core.data.messages import (
    camera_info_message,
    cloud_colours,
    cloud_points,
    depth_message,
    header_stamp,
    image_array,
    image_message,
    scan_message,
    transforms_message,
)

STAMP = 1_317_042_272_999_999_999


def through_cdr(message):
    kind = message.__msgtype__
    return TYPESTORE.deserialize_cdr(bytes(TYPESTORE.serialize_cdr(message, kind)), kind)


def test_image_and_depth_survive_the_wire():
    rgb = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    depth = np.array([[1.5, np.nan], [np.inf, 80.0]], np.float32)
    image = through_cdr(image_message(rgb, stamp=STAMP, frame_id="eye"))
    measured = through_cdr(depth_message(depth, stamp=STAMP, frame_id="eye"))
    assert (image.encoding, image.step, image.is_bigendian) == ("rgb8", 21, 0)
    assert (measured.encoding, measured.step) == ("32FC1", 8)
    assert header_stamp(image) == header_stamp(measured) == STAMP
    assert image.header.frame_id == "eye"
    np.testing.assert_array_equal(image_array(image), rgb)
    np.testing.assert_array_equal(image_array(measured), depth)


def raw_image(data, *, encoding, step, big_endian=0, height=2, width=2):
    message = image_message(np.zeros((height, width, 3), np.uint8), stamp=0, frame_id="")
    message.encoding, message.step, message.is_bigendian = encoding, step, big_endian
    message.data = np.frombuffer(data, np.uint8)
    return message


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        (raw_image(bytes(range(16)), encoding="bgr8", step=8),
         [[[2, 1, 0], [5, 4, 3]], [[10, 9, 8], [13, 12, 11]]]),
        (raw_image(b"\1\2--\3\4--", encoding="mono8", step=4), [[1, 2], [3, 4]]),
        (raw_image(b"\1\0\2\0\0\1\3\0", encoding="16UC1", step=4), [[1, 2], [256, 3]]),
        (raw_image(b"\0\1\0\2\1\0\0\3", encoding="16UC1", step=4, big_endian=1),
         [[1, 2], [256, 3]]),
    ],
    ids=["bgr_padded", "mono_padded", "little_endian", "big_endian"],
)  # fmt: skip
def test_other_layouts(message, wanted):
    np.testing.assert_array_equal(image_array(message), wanted)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (raw_image(bytes(12), encoding="yuv422", step=6), "'yuv422'"),
        (raw_image(bytes(11), encoding="rgb8", step=6), "11 bytes"),
        (raw_image(bytes(12), encoding="rgb8", step=5), "step 5"),
    ],
    ids=["encoding", "short", "step"],
)
def test_bad_image_is_refused(message, words):
    with pytest.raises(ValueError, match=words):
        image_array(message)


def test_wrong_arrays_are_refused():
    with pytest.raises(ValueError, match=r"no rgb8 image: got float64 \(2, 2, 3\)"):
        image_message(np.zeros((2, 2, 3)), stamp=0, frame_id="")
    with pytest.raises(ValueError, match=r"no 32FC1 image: got float64 \(2, 2\)"):
        depth_message(np.zeros((2, 2)), stamp=0, frame_id="")
    with pytest.raises(ValueError, match=r"\(5, 3\)"):
        scan_message(np.zeros((5, 3), np.float32), stamp=0, frame_id="")


def test_camera_info():
    camera = Camera(1242, 375, 721.5, 720.5, 609.5, 172.8)
    info = through_cdr(camera_info_message(camera, stamp=STAMP, frame_id="eye"))
    assert (info.width, info.height, info.distortion_model) == (1242, 375, "plumb_bob")
    np.testing.assert_array_equal(info.k, [721.5, 0, 609.5, 0, 720.5, 172.8, 0, 0, 1])
    np.testing.assert_array_equal(np.reshape(info.p, (3, 4))[:, :3].ravel(), info.k)
    np.testing.assert_array_equal(np.reshape(info.p, (3, 4))[:, 3], 0)
    assert not info.d.any()


def test_scan_becomes_a_cloud():
    scan = np.random.default_rng(0).normal(size=(11, 4)).astype(np.float32)
    cloud = through_cdr(scan_message(scan, stamp=STAMP, frame_id="laser"))
    assert [item.name for item in cloud.fields] == ["x", "y", "z", "intensity"]
    assert (cloud.height, cloud.width, cloud.point_step, cloud.row_step) == (1, 11, 16, 176)
    np.testing.assert_array_equal(cloud_points(cloud)[0], scan[:, :3])
    with pytest.raises(ValueError, match="no float32 field rgb"):
        cloud_colours(cloud)


def organised_cloud(*, padding):
    """Cloud of 2x3 points with unused bytes between the fields and after each row."""
    cloud = scan_message(np.zeros((6, 4), np.float32), stamp=0, frame_id="")
    cloud.fields[3].name, cloud.fields[3].offset = "rgb", 16
    cloud.height, cloud.width, cloud.point_step = 2, 3, 20
    cloud.row_step = 60 + padding
    points = np.arange(18, dtype=np.float32).reshape(2, 3, 3)
    colours = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    data = np.full((2, cloud.row_step), 255, np.uint8)
    body = np.zeros((2, 3, 20), np.uint8)
    body[..., :12] = points.view(np.uint8).reshape(2, 3, 12)
    body[..., 16:19] = colours[..., ::-1]
    data[:, :60] = body.reshape(2, 60)
    cloud.data = data.ravel()
    return cloud, points, colours


@pytest.mark.parametrize("padding", [0, 6])
def test_organised_cloud(padding):
    cloud, points, colours = organised_cloud(padding=padding)
    np.testing.assert_array_equal(cloud_points(cloud), points)
    np.testing.assert_array_equal(cloud_colours(cloud), colours)


def test_bad_cloud_is_refused():
    cloud, _, _ = organised_cloud(padding=0)
    cloud.data = cloud.data[:-1]
    with pytest.raises(ValueError, match="short data: 119 bytes"):
        cloud_points(cloud)


def rotation_of(quaternion):
    x, y, z, w = quaternion.x, quaternion.y, quaternion.z, quaternion.w
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def turns():
    yield "none", np.eye(3)
    for axis, name in enumerate("xyz"):
        half = -np.eye(3)
        half[axis, axis] = 1
        yield f"half_turn_{name}", half
    yield "optical", np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]])
    for seed in range(3):
        matrix = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
        yield f"random_{seed}", matrix * np.linalg.det(matrix)


@pytest.mark.parametrize("rotation", [pytest.param(turn, id=name) for name, turn in turns()])
def test_static_transform(rotation):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, (1, 2, 3)
    message = through_cdr(transforms_message([("base", "eye", matrix)], stamp=STAMP))
    transform = message.transforms[0]
    assert (transform.header.frame_id, transform.child_frame_id) == ("base", "eye")
    assert header_stamp(transform) == STAMP
    offset = transform.transform.translation
    assert (offset.x, offset.y, offset.z) == (1, 2, 3)
    np.testing.assert_allclose(rotation_of(transform.transform.rotation), rotation, atol=1e-12)
