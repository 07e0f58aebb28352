import tracemalloc

import numpy as np
import pytest

from depthformer_core.bags import TYPESTORE
from depthformer_core.bags.compressed_messages import compressed_to_rgb
from depthformer_core.bags.depth_messages import image_to_depth
from depthformer_core.bags.image_messages import image_to_rgb
from depthformer_core.bags.messages import (
    camera_info_message,
    cloud_colours,
    cloud_points,
    coloured_cloud_message,
    compressed_message,
    depth_message,
    header_stamp,
    image_message,
    scan_message,
    transforms_message,
)
from depthformer_core.geometry.camera import Camera

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
    np.testing.assert_array_equal(image_to_rgb(image), rgb)
    np.testing.assert_array_equal(image_to_depth(measured), depth)


def test_wrong_arrays_are_refused():
    with pytest.raises(ValueError, match=r"no rgb8 image: got float64 \(2, 2, 3\)"):
        image_message(np.zeros((2, 2, 3)), stamp=0, frame_id="")
    with pytest.raises(ValueError, match=r"no 32FC1 image: got float64 \(2, 2\)"):
        depth_message(np.zeros((2, 2)), stamp=0, frame_id="")
    with pytest.raises(ValueError, match=r"\(5, 3\)"):
        scan_message(np.zeros((5, 3), np.float32), stamp=0, frame_id="")
    with pytest.raises(ValueError, match=r"\(5, 3\) and \(4, 3\)"):
        coloured_cloud_message(
            np.zeros((5, 3), np.float32), np.zeros((4, 3), np.uint8), stamp=0, frame_id=""
        )
    with pytest.raises(ValueError, match=r"no rgb8 image: got uint8 \(2, 2\)"):
        compressed_message(np.zeros((2, 2), np.uint8), "png", stamp=0, frame_id="")


def test_coloured_clouds_and_compressed_images_survive_the_wire():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(7, 3)).astype(np.float32)
    colours = rng.integers(0, 256, (7, 3), dtype=np.uint8)
    cloud = through_cdr(coloured_cloud_message(points, colours, stamp=STAMP, frame_id="eye"))
    assert (cloud.width, cloud.height, cloud.is_dense, header_stamp(cloud)) == (7, 1, True, STAMP)
    np.testing.assert_array_equal(cloud_points(cloud)[0], points)
    np.testing.assert_array_equal(cloud_colours(cloud)[0], colours)
    rgb = rng.integers(0, 256, (8, 9, 3), dtype=np.uint8)
    image = through_cdr(compressed_message(rgb, "png", stamp=STAMP, frame_id="eye"))
    np.testing.assert_array_equal(compressed_to_rgb(image), rgb)
    photo = through_cdr(compressed_message(rgb, "jpeg", stamp=STAMP, frame_id="eye"))
    assert compressed_to_rgb(photo).shape == rgb.shape


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
    with pytest.raises(
        ValueError, match="no field rgb of int32, uint32, float32; its fields are x"
    ):
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


@pytest.mark.parametrize("kind", [5, 6, 7], ids=["int32", "uint32", "float32"])
def test_packed_colours_of_any_type(kind):
    cloud, _, colours = organised_cloud(padding=6)
    cloud.fields[3].datatype = kind
    np.testing.assert_array_equal(cloud_colours(cloud), colours)
    data = cloud.data.reshape(2, 66)
    body = data[:, :60].reshape(2, 3, 20)
    body[..., 16:20] = body[..., 19:15:-1]
    cloud.data, cloud.is_bigendian = data.ravel(), True
    np.testing.assert_array_equal(cloud_colours(cloud), colours)


@pytest.mark.parametrize("row_step", [0, 1, 20, 59, 61, 120, 2**32 - 1])
def test_a_wrong_row_step_does_not_matter_where_the_data_fits(row_step):
    cloud, points, colours = organised_cloud(padding=0)
    cloud.row_step = row_step
    np.testing.assert_array_equal(cloud_points(through_cdr(cloud)), points)
    np.testing.assert_array_equal(cloud_colours(cloud), colours)


@pytest.mark.parametrize("row_step", [0, 16, 175, 177])
def test_one_row_needs_no_row_step(row_step):
    scan = np.random.default_rng(0).normal(size=(11, 4)).astype(np.float32)
    cloud = scan_message(scan, stamp=STAMP, frame_id="laser")
    cloud.row_step = row_step
    cloud.data = np.concatenate((cloud.data, np.full(3, 255, np.uint8)))
    np.testing.assert_array_equal(cloud_points(cloud)[0], scan[:, :3])


def test_the_last_row_may_lack_its_padding():
    cloud, points, _ = organised_cloud(padding=6)
    cloud.data = cloud.data[:-6]
    np.testing.assert_array_equal(cloud_points(cloud), points)


@pytest.mark.parametrize(
    ("padding", "row_step", "length"),
    [(0, 60, 119), (0, 0, 119), (6, 66, 125), (6, 0, 132), (6, 59, 132), (6, 2**32 - 1, 132)],
)
def test_short_clouds_are_refused(padding, row_step, length):
    cloud, _, _ = organised_cloud(padding=padding)
    cloud.row_step, cloud.data = row_step, cloud.data[:length]
    text = f"3x2 points has short data: {length} bytes for point_step 20 and row_step {row_step}$"
    with pytest.raises(ValueError, match=text):
        cloud_points(cloud)


NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}


def cloud_of(fields, points, *, point_step, big_endian=False, rows=1):
    """Cloud with fields (name, offset, datatype) that hold the columns of points (N, fields)."""
    cloud = scan_message(np.zeros((0, 4), np.float32), stamp=STAMP, frame_id="laser")
    field = TYPESTORE.types["sensor_msgs/msg/PointField"]
    cloud.fields = [
        field(name=name, offset=offset, datatype=kind, count=1) for name, offset, kind in fields
    ]
    cloud.height, cloud.width, cloud.point_step = rows, len(points) // rows, point_step
    cloud.row_step, cloud.is_bigendian = cloud.width * point_step, big_endian
    data = np.full((len(points), point_step), 255, np.uint8)
    for column, (_, offset, kind) in zip(np.transpose(points), fields, strict=True):
        number = np.dtype(NUMBERS[kind]).newbyteorder(">" if big_endian else "<")
        raw = column.astype(number).reshape(-1, 1).view(np.uint8)
        data[:, offset : offset + number.itemsize] = raw
    cloud.data = data.ravel()
    return through_cdr(cloud)


LAYOUTS = {
    "velodyne": (22, [("x", 0, 7), ("y", 4, 7), ("z", 8, 7), ("intensity", 12, 7),
                      ("ring", 16, 4), ("time", 18, 7)]),
    "ouster": (48, [("x", 0, 7), ("y", 4, 7), ("z", 8, 7), ("intensity", 16, 7), ("t", 20, 6),
                    ("reflectivity", 24, 4), ("ring", 26, 4), ("ambient", 28, 4),
                    ("range", 32, 6)]),
    "livox": (26, [("x", 0, 7), ("y", 4, 7), ("z", 8, 7), ("intensity", 12, 7), ("tag", 16, 2),
                   ("line", 17, 2), ("timestamp", 18, 8)]),
    "robosense": (26, [("x", 0, 7), ("y", 4, 7), ("z", 8, 7), ("intensity", 12, 7),
                       ("ring", 16, 4), ("timestamp", 18, 8)]),
    "doubles": (24, [("x", 0, 8), ("y", 8, 8), ("z", 16, 8)]),
    "millimetres": (6, [("x", 0, 3), ("y", 2, 3), ("z", 4, 3)]),
    "mixed": (19, [("t", 0, 6), ("z", 4, 3), ("x", 7, 8), ("y", 15, 7)]),
}  # fmt: skip


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("big_endian", [False, True], ids=["little endian", "big endian"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_clouds_of_scanners(layout, big_endian, rows):
    step, fields = LAYOUTS[layout]
    points = np.random.default_rng(0).integers(0, 100, (12, len(fields))).astype(float)
    columns = [[name for name, _, _ in fields].index(name) for name in "xyz"]
    cloud = cloud_of(fields, points, point_step=step, big_endian=big_endian, rows=rows)
    read = cloud_points(cloud)
    assert (read.shape, read.dtype) == ((rows, 12 // rows, 3), np.float32)
    np.testing.assert_array_equal(read.reshape(-1, 3), points[:, columns])


@pytest.mark.parametrize("big_endian", [False, True], ids=["little endian", "big endian"])
@pytest.mark.parametrize("kind", NUMBERS, ids=NUMBERS.values())
def test_coordinates_of_any_type(kind, big_endian):
    size = np.dtype(NUMBERS[kind]).itemsize
    low = 0 if NUMBERS[kind][0] == "u" else -100
    points = np.random.default_rng(kind).integers(low, 100, (5, 3))
    fields = [("z", 0, kind), ("x", size, kind), ("y", 2 * size, kind)]
    cloud = cloud_of(fields, points, point_step=3 * size, big_endian=big_endian)
    np.testing.assert_array_equal(cloud_points(cloud)[0], points[:, [1, 2, 0]])


@pytest.mark.filterwarnings("error")
def test_doubles_are_rounded():
    fields = [("x", 0, 8), ("y", 8, 8), ("z", 16, 8)]
    cloud = cloud_of(fields, [[0.1, 1e300, np.nan]], point_step=24)
    np.testing.assert_array_equal(cloud_points(cloud), [[[np.float32(0.1), np.inf, np.nan]]])


@pytest.mark.parametrize(("height", "width"), [(0, 0), (1, 0), (0, 7), (2**32 - 1, 0)])
@pytest.mark.parametrize("fields", [True, False], ids=["fields", "no fields"])
def test_clouds_without_points(height, width, fields):
    cloud = scan_message(np.zeros((0, 4), np.float32), stamp=0, frame_id="")
    cloud.height, cloud.width = height, width
    if not fields:
        cloud.fields, cloud.point_step = [], 0
    assert cloud_points(cloud).shape == cloud_colours(cloud).shape == (height, width, 3)


def break_lost_coordinate(cloud):
    cloud.fields[1].name = "range"


def break_unknown_type(cloud):
    cloud.fields[0].datatype = 9


def break_many_numbers(cloud):
    cloud.fields[2].count = 3


def break_far_offset(cloud):
    cloud.fields[0].offset = 17


def break_no_point_step(cloud):
    cloud.point_step, cloud.width, cloud.height = 0, 2**32 - 1, 2**32 - 1


def break_huge_size(cloud):
    cloud.width, cloud.height = 2**32 - 1, 2**32 - 1


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (break_lost_coordinate, r"no field y of int8, .*; its fields are x \(float32\), range \(f"),
        (break_unknown_type, r"no field x of int8.*float64; its fields are x \(type 9\), y"),
        (break_many_numbers, "field z must be one number, got 3"),
        (break_far_offset, "field x of 4 bytes at offset 17 exceeds a point of point_step 20"),
        (break_no_point_step, "exceeds a point of point_step 0"),
        (break_huge_size, "short data: 120 bytes for point_step 20 and row_step 60"),
    ],
    ids=lambda value: value.__name__.removeprefix("break_") if callable(value) else "",
)
def test_bad_clouds_are_refused(damage, text):
    cloud, _, _ = organised_cloud(padding=0)
    damage(cloud)
    with pytest.raises(ValueError, match=text):
        cloud_points(cloud)


def test_a_count_of_zero_is_one_number():
    cloud, points, _ = organised_cloud(padding=0)
    for field in cloud.fields:
        field.count = 0
    np.testing.assert_array_equal(cloud_points(cloud), points)


def test_no_more_memory_than_the_points_need():
    scan = np.random.default_rng(0).normal(size=(100_000, 4)).astype(np.float32)
    cloud = through_cdr(scan_message(scan, stamp=STAMP, frame_id="laser"))
    tracemalloc.start()
    try:
        cloud_points(cloud)
        assert tracemalloc.get_traced_memory()[1] < 1.1 * scan[:, :3].nbytes
    finally:
        tracemalloc.stop()


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


@pytest.mark.parametrize("noise", [1e-6, 1e-3, 1e-1])
def test_a_matrix_that_is_not_quite_orthogonal_gets_the_nearest_rotation(noise):
    """As of calibrations with few digits; the nearest one is that of the polar decomposition."""
    rng = np.random.default_rng(7)
    for _, turn in turns():
        matrix = np.eye(4)
        matrix[:3, :3] = turn + noise * rng.normal(size=(3, 3))
        u, _, v = np.linalg.svd(matrix[:3, :3])
        nearest = u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v
        rotation = (
            transforms_message([("a", "b", matrix)], stamp=0).transforms[0].transform.rotation
        )
        assert rotation.w >= 0
        np.testing.assert_allclose(rotation_of(rotation), nearest, atol=1e-12)
