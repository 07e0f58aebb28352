import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from rosbags.rosbag1 import Writer as Writer1
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from ruamel.yaml import YAML

from depthformer_core.bags import TYPESTORE, BagReader, BagWriter
from depthformer_core.bags.messages import (
    camera_info_message,
    depth_message,
    header,
    image_message,
    scan_message,
    transforms_message,
)
from depthformer_core.bags.topics import ReplayError, Topics
from depthformer_core.data.kitti import KittiDrive, drive_to_bag
from depthformer_core.geometry.camera import Camera
from depthformer_core.geometry.transforms import TransformError, read_link
from depthformer_core.replay.bag_frames import BagFrames
from depthformer_core.replay.frame_plan import FrameOptions
from depthformer_core.replay.scan_truth import scan_truth
from depthformer_core.synthetic.drive import Drive
from depthformer_core.synthetic.export import DEPTH_TRUTH_TOPIC, write_bag

CAMERA = Camera(16, 8, 20.0, 20.0, 7.5, 3.5)
START = 1_700_000_000_000_000_000
MS = 1_000_000
# Takes points of the laser (x forward, y left, z up) to the camera that it stands on.
LASER_TO_EYE = np.array([[0, -1.0, 0, 0], [0, 0, -1.0, 0.1], [1.0, 0, 0, 0], [0, 0, 0, 1.0]])


def picture(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (8, 16, 3), dtype=np.uint8)


def image(ms, *, rgb=None, frame_id="eye"):
    rgb = picture() if rgb is None else rgb
    return image_message(rgb, stamp=START + ms * MS, frame_id=frame_id)


def encoded(ms, samples, encoding):
    """Image of (H, bytes of a row) samples."""
    message = image(ms)
    message.encoding, message.step = encoding, samples.shape[1]
    message.data = np.ascontiguousarray(samples).reshape(-1)
    return message


def compressed(ms, data):
    return TYPESTORE.types["sensor_msgs/msg/CompressedImage"](
        header(stamp=START + ms * MS, frame_id="eye"), "jpeg", np.frombuffer(data, np.uint8)
    )


def info(ms, *, camera=CAMERA, **fields):
    message = camera_info_message(camera, stamp=START + ms * MS, frame_id="eye")
    for name, value in fields.items():
        setattr(message, name, value)
    return message


def depth(ms, values, *, encoding="32FC1"):
    values = np.asarray(values, np.float32)
    message = depth_message(values, stamp=START + ms * MS, frame_id="eye")
    if encoding == "16UC1":
        message.encoding, message.step = encoding, 2 * values.shape[1]
        message.data = values.astype("<u2").view(np.uint8).reshape(-1)
    return message


def cloud(ms, *, distance=5.0, frame_id="laser"):
    """A wall across the camera's view."""
    across, up = np.meshgrid(np.linspace(-2, 2, 40), np.linspace(-1, 1, 20))
    points = np.stack((np.full_like(up, distance), across, up, up), -1).reshape(-1, 4)
    return scan_message(points.astype(np.float32), stamp=START + ms * MS, frame_id=frame_id)


def transforms(*, parent="laser", child="eye"):
    matrix = np.linalg.inv(LASER_TO_EYE)
    return transforms_message([(parent, child, matrix)], stamp=START)


def bag_of(path, events, *, storage="mcap"):
    """Bag of (topic, message) or (topic, message, ms of recording)."""
    with BagWriter(path, storage=storage) as writer:
        for topic, message, *recorded in events:
            stamp = message.header.stamp if hasattr(message, "header") else None
            time = START if stamp is None else stamp.sec * 10**9 + stamp.nanosec
            time = START + recorded[0] * MS if recorded else time
            writer.write(topic, message, stamp=time, latched="tf_static" in topic)
    return path


def drive_events(count=3):
    yield "/tf_static", transforms()
    for index in range(count):
        yield "/cam/camera_info", info(100 * index)
        yield "/cam/image_rect", image(100 * index, rgb=picture(index))
        yield "/velo", cloud(100 * index + 10, distance=5.0 + index)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_frames_with_scans(tmp_path, storage):
    bag = bag_of(tmp_path / "bag", drive_events(), storage=storage)
    frames = BagFrames(bag)
    assert len(frames) == 3
    assert frames.topics == Topics("/cam/image_rect", "/cam/camera_info", None, "/velo")
    for _ in range(2):  # each `for` is a pass of its own
        read = list(frames)
        assert [item.stamp for item in read] == [START, START + 100 * MS, START + 200 * MS]
        assert read[1].frame.file == "1700000000.100000000"
        for index, item in enumerate(read):
            frame = item.frame
            np.testing.assert_array_equal(frame.rgb, picture(index))
            assert frame.rgb.flags.writeable
            assert frame.camera == CAMERA
            assert frame.depth.dtype == np.float32
            assert (frame.depth > 0).mean() > 0.5
            np.testing.assert_allclose(frame.depth[frame.depth > 0], 5 + index, rtol=1e-6)
        assert (frames.rejected, frames.notes) == ({}, [])


def test_split_bag(tmp_path):
    bag = tmp_path / "bag"
    bag.mkdir()
    for part in range(2):
        path = tmp_path / f"part{part}"
        bag_of(path, [("/image", image(100 * part))], storage="sqlite3")
        shutil.copy(path / f"part{part}.db3", bag)
    yaml = YAML(typ="safe")
    metadata = yaml.load((tmp_path / "part0" / "metadata.yaml").read_text())
    information = metadata["rosbag2_bagfile_information"]
    information["relative_file_paths"] = ["part0.db3", "part1.db3"]
    information["message_count"] = 2
    with (bag / "metadata.yaml").open("w") as file:
        yaml.dump(metadata, file)
    assert [item.stamp for item in BagFrames(bag)] == [START, START + 100 * MS]


@pytest.mark.parametrize(
    ("slash", "tf_static"), [("", True), ("/", True), ("/", False)], ids=["", "slash", "no tf"]
)
def test_ros1_bag(tmp_path, slash, tf_static):
    """Frames of ROS 1 may have a leading slash in one message and none in another."""
    store = get_typestore(Stores.ROS1_NOETIC)
    definition = "geometry_msgs/TransformStamped[] transforms"
    store.register(get_types_from_msg(definition, "tf2_msgs/msg/TFMessage"))
    types = store.types
    time = types["builtin_interfaces/msg/Time"](START // 10**9, 0)
    head = types["std_msgs/msg/Header"]
    eye, laser = head(1, time, f"{slash}eye"), head(1, time, f"{slash}laser")
    wall = cloud(0)
    field = types["sensor_msgs/msg/PointField"]
    roi = types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    x, y, z, w = 0.5, -0.5, 0.5, -0.5
    transform = types["geometry_msgs/msg/TransformStamped"](
        head(1, time, "laser"),
        "eye",
        types["geometry_msgs/msg/Transform"](
            types["geometry_msgs/msg/Vector3"](0.0, 0.0, 0.1),
            types["geometry_msgs/msg/Quaternion"](x, y, z, w),
        ),
    )
    made = info(0)
    messages = {
        "/cam/camera_info": types["sensor_msgs/msg/CameraInfo"](
            eye, 8, 16, "plumb_bob", made.d, made.k, made.r, made.p, 0, 0, roi
        ),
        "/cam/image_raw": types["sensor_msgs/msg/Image"](
            eye, 8, 16, "rgb8", 0, 48, picture().reshape(-1)
        ),
        "/velo": types["sensor_msgs/msg/PointCloud2"](
            laser,
            wall.height,
            wall.width,
            [field(item.name, item.offset, item.datatype, item.count) for item in wall.fields],
            False,
            wall.point_step,
            wall.row_step,
            wall.data,
            True,
        ),
    }
    if tf_static:
        messages["/tf_static"] = types["tf2_msgs/msg/TFMessage"]([transform])
    with Writer1(tmp_path / "drive.bag") as writer:
        for topic, message in messages.items():
            connection = writer.add_connection(topic, message.__msgtype__, typestore=store)
            writer.write(connection, START, store.serialize_ros1(message, message.__msgtype__))
    frames = BagFrames(tmp_path / "drive.bag")
    (item,) = frames
    np.testing.assert_array_equal(item.frame.rgb, picture())
    assert item.frame.camera == CAMERA
    if tf_static:
        np.testing.assert_allclose(item.frame.depth[item.frame.depth > 0], 5, rtol=1e-6)
    else:
        assert item.frame.depth is None
        assert "no /tf_static" in frames.notes[0]


def bayer(rgb):
    samples = np.empty(rgb.shape[:2], np.uint8)
    for place, channel in enumerate((0, 1, 1, 2)):
        down, across = divmod(place, 2)
        samples[down::2, across::2] = rgb[down::2, across::2, channel]
    return samples


def grey():
    return np.full((8, 16), 77, np.uint8)


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(encoded(0, grey(), "mono8"), id="mono"),
        pytest.param(encoded(0, bayer(np.full((8, 16, 3), 77)), "bayer_rggb8"), id="bayer"),
        pytest.param(compressed(0, cv2.imencode(".png", grey())[1].tobytes()), id="png"),
        pytest.param(compressed(0, cv2.imencode(".jpg", grey())[1].tobytes()), id="jpeg"),
    ],
)
def test_kinds_of_images(tmp_path, message):
    (item,) = BagFrames(bag_of(tmp_path / "bag", [("/image/compressed", message)]))
    np.testing.assert_array_equal(item.frame.rgb, np.full((8, 16, 3), 77))


def test_bad_images_are_counted(tmp_path):
    bomb = image(10)
    bomb.height = bomb.width = 2**31
    short = image(20)
    short.data = short.data[:100]
    odd = encoded(30, grey(), "thermal")
    bag = bag_of(
        tmp_path / "bag",
        [("/image", image(0)), ("/image", bomb), ("/image", short), ("/image", odd),
         ("/image", image(40))],
    )  # fmt: skip
    frames = BagFrames(bag)
    assert [item.stamp for item in frames] == [START, START + 40 * MS]
    assert len(frames) == 5
    for reason, text in zip(
        frames.rejected, ["2147483648", "data has 100 bytes", "'thermal'"], strict=True
    ):
        assert text in reason
        assert frames.rejected[reason] == 1
    assert "1 of 5 images were unusable: data has 100 bytes" in " ".join(frames.notes)


def test_damaged_messages_are_counted(tmp_path):
    with BagWriter(tmp_path / "bag") as writer:
        writer.write("/tf_static", transforms(), stamp=START, latched=True)
        for index in range(30):
            ms = 100 * index
            writer.write("/image", image(ms), stamp=START + ms * MS)
            writer.write("/camera_info", info(ms), stamp=START + ms * MS)
            writer.write("/velo", cloud(ms), stamp=START + ms * MS)
            for topic, kind in (("/image", "Image"), ("/velo", "PointCloud2")):
                data = b"\x00\x01\x00\x00abc" + bytes(index)
                writer.write_cdr(topic, f"sensor_msgs/msg/{kind}", data, stamp=START + ms * MS)
    frames = BagFrames(tmp_path / "bag")
    read = list(frames)
    assert len(read) == 30
    assert all(item.frame.depth is not None for item in read)
    assert frames.rejected == {"not a valid sensor_msgs/msg/Image": 30}
    assert "30 messages with truth were damaged." in frames.notes


def test_reasons_do_not_grow_with_the_bag(tmp_path):
    events = [("/image", image(0))]
    for index in range(1, 40):
        message = image(index)
        message.data = message.data[:index]
        events.append(("/image", message))
    frames = BagFrames(bag_of(tmp_path / "bag", events))
    assert len(list(frames)) == 1
    assert len(frames.rejected) < 15
    assert sum(frames.rejected.values()) == 39


@pytest.mark.parametrize("rectify", ["auto", "always", "never"])
@pytest.mark.parametrize("topic", ["/cam/image_raw", "/cam/image_rect"])
def test_rectification(tmp_path, topic, rectify):
    distorted = info(0, d=np.array([-0.3, 0.1, 0.0, 0.0, 0.0]))
    bag = bag_of(tmp_path / "bag", [("/cam/camera_info", distorted), (topic, image(0))])
    (item,) = BagFrames(bag, FrameOptions(rectify=rectify))
    raw = rectify == "never" or (rectify == "auto" and topic == "/cam/image_rect")
    assert np.array_equal(item.frame.rgb, picture()) == raw
    assert item.frame.camera == CAMERA


def test_calibration_is_the_newest_before_an_image(tmp_path):
    cameras = [Camera(16, 8, focal, focal, 7.5, 3.5) for focal in (10.0, 20.0)]
    events = [("/image", image(0))]
    for index, camera in enumerate(cameras):
        events.append(("/camera_info", info(100 * index + 50, camera=camera)))
        events.append(("/image", image(100 * index + 100)))
    read = list(BagFrames(bag_of(tmp_path / "bag", events)))
    assert [item.frame.camera for item in read] == [cameras[0], *cameras]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        pytest.param(None, "the bag has no camera_info", id="missing"),
        pytest.param(
            info(0, k=np.zeros(9)), "/camera_info is unusable: focal length k[0]", id="no focal"
        ),
        pytest.param(
            info(0, camera=Camera(32, 16, 20.0, 20.0, 15.5, 7.5)),
            "/camera_info is for 32x16, the images are 16x8",
            id="size",
        ),
    ],
)
def test_without_a_usable_camera_there_are_pictures(tmp_path, message, text):
    events = [("/tf_static", transforms()), ("/image", image(0)), ("/velo", cloud(0))]
    if message is not None:
        events.append(("/camera_info", message))
    frames = BagFrames(bag_of(tmp_path / "bag", events))
    (item,) = frames
    assert (item.frame.camera, item.frame.depth) == (None, None)
    assert any(text in note and "no camera:" in note for note in frames.notes)
    assert any("no truth" in note for note in frames.notes)


def test_damaged_calibration(tmp_path):
    with BagWriter(tmp_path / "bag") as writer:
        writer.write_cdr("/camera_info", "sensor_msgs/msg/CameraInfo", b"\0\1\0\0a", stamp=START)
        writer.write("/image", image(0), stamp=START)
    frames = BagFrames(tmp_path / "bag")
    (item,) = frames
    assert item.frame.camera is None
    assert frames.notes[-1] == "1 of 1 images have no camera: /camera_info is damaged."


def test_depth_in_metres(tmp_path):
    values = np.full((8, 16), 7.25)
    values[0, :5] = np.nan, np.inf, -np.inf, 0, -1
    bag = bag_of(tmp_path / "bag", [("/image", image(0)), ("/depth", depth(20, values))])
    frames = BagFrames(bag)
    (item,) = frames
    np.testing.assert_array_equal(item.frame.depth[0, :6], [0, np.inf, 0, 0, 0, 7.25])
    assert item.frame.depth.dtype == np.float32
    assert frames.notes == ["1 of 1 images have no camera: the bag has no camera_info."]


def test_depth_in_millimetres(tmp_path):
    values = np.full((8, 16), 7250)
    values[0, :2] = 0, 65535
    message = depth(0, values, encoding="16UC1")
    (item,) = BagFrames(bag_of(tmp_path / "bag", [("/image", image(0)), ("/depth", message)]))
    np.testing.assert_allclose(item.frame.depth[0, :3], [0, 65.535, 7.25])
    assert item.frame.depth.dtype == np.float32


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (depth(100, np.ones((4, 8))), "the depth image is 8x4, the image 16x8"),
        (image(100), "encoding of a depth image must be 32FC1 or 16UC1, got 'rgb8'"),
    ],
    ids=["size", "encoding"],
)
def test_unusable_depth_is_counted(tmp_path, message, text):
    events = [
        *(("/image", image(ms)) for ms in (0, 100)),
        ("/depth", depth(0, np.ones((8, 16)))),
        ("/depth", message),
    ]
    frames = BagFrames(bag_of(tmp_path / "bag", events))
    first, second = frames
    assert first.frame.depth is not None
    assert second.frame.depth is None
    assert f"1 of 2 images have no truth: {text}." in frames.notes


def test_unusable_clouds_are_counted(tmp_path):
    events = [("/tf_static", transforms()), ("/camera_info", info(0))]
    doubles = cloud(100)
    for field in doubles.fields:
        field.datatype = 8
        field.offset *= 2
    doubles.data = doubles.data.view("<f4").astype("<f8").view(np.uint8)
    doubles.point_step, doubles.row_step = 32, 2 * doubles.row_step
    flat = cloud(200)
    flat.fields = flat.fields[:2]
    short = cloud(300)
    short.data = short.data[:50]
    lost = cloud(400, frame_id="elsewhere")
    for ms, scan in zip(range(0, 500, 100), (cloud(0), doubles, flat, short, lost), strict=True):
        events += [("/image", image(ms)), ("/velo", scan)]
    frames = BagFrames(bag_of(tmp_path / "bag", events))
    assert [item.frame.depth is not None for item in frames] == [True, True, *[False] * 3]
    notes = " ".join(frames.notes)
    assert "1 of 5 images have no truth: cloud has no field z" in notes
    assert "short data: 50 bytes" in notes
    assert "elsewhere" in notes


@pytest.mark.parametrize(("tolerance", "matched"), [(0.05, 0), (0.08, 3), (0.0, 0)])
def test_scans_that_do_not_match(tmp_path, tolerance, matched):
    events = [("/tf_static", transforms()), ("/camera_info", info(0))]
    for index in range(3):
        events += [("/image", image(1000 * index)), ("/velo", cloud(1000 * index + 70))]
    frames = BagFrames(bag_of(tmp_path / "bag", events), FrameOptions(tolerance=tolerance))
    assert sum(item.frame.depth is not None for item in frames) == matched
    if not matched:
        assert frames.notes == [
            f"3 of 3 images have no truth: nothing on /velo within {tolerance} s.",
            "The nearest miss was 0.070 s between an image and a message on /velo.",
        ]


def test_scans_recorded_late_still_match(tmp_path):
    events = [("/tf_static", transforms()), ("/camera_info", info(0))]
    for index in range(10):
        events.append(("/image", image(100 * index), 100 * index + 5))
        events.append(("/velo", cloud(100 * index, distance=5.0 + index), 100 * index + 700))
    events[2:] = sorted(events[2:], key=lambda event: event[2])
    frames = BagFrames(bag_of(tmp_path / "bag", events))
    for index, item in enumerate(frames):
        np.testing.assert_allclose(item.frame.depth[item.frame.depth > 0], 5 + index, rtol=1e-6)
    assert frames.notes == []


def test_without_stamps_the_time_of_recording_counts(tmp_path):
    events = []
    for ms in (0, 1000):
        for topic, message in (("/image", image(ms)), ("/depth", depth(ms, np.ones((8, 16))))):
            message.header.stamp.sec = message.header.stamp.nanosec = 0
            events.append((topic, message, ms))
    frames = BagFrames(bag_of(tmp_path / "bag", events))
    read = list(frames)
    assert [item.stamp for item in read] == [START, START + 1000 * MS]
    assert all(item.frame.depth is not None for item in read)
    assert any("4 messages have no stamp" in note for note in frames.notes)


@pytest.mark.parametrize(
    ("events", "options", "text"),
    [
        pytest.param(
            [], {}, "There is no truth: the bag has no depth images or clouds.", id="none"
        ),
        pytest.param(
            [("/depth", depth(0, np.ones((8, 16))))],
            {"truth": "none"},
            "There is no truth: none is requested.",
            id="not requested",
        ),
        pytest.param(
            [("/velo", cloud(0)), ("/camera_info", info(0))],
            {},
            "There is no truth: the bag has no /tf_static, which would place /velo",
            id="no transforms",
        ),
        pytest.param(
            [("/velo", cloud(0)), ("/tf_static", transforms())],
            {},
            "There is no truth: the bag has no camera_info to project /velo with.",
            id="no camera_info",
        ),
    ],
)
def test_missing_truth_is_noted(tmp_path, events, options, text):
    frames = BagFrames(
        bag_of(tmp_path / "bag", [*events, ("/image", image(0))]), FrameOptions(**options)
    )
    (item,) = frames
    assert item.frame.depth is None
    assert frames.notes[0].startswith(text)
    assert (frames.topics.depth, frames.topics.cloud) == (None, None)


@pytest.mark.parametrize(
    ("events", "options", "error", "text"),
    [
        pytest.param(
            [("/velo", cloud(0)), ("/camera_info", info(0))],
            {"truth": "lidar"},
            ReplayError,
            "/velo is no truth: the bag has no /tf_static",
            id="no transforms",
        ),
        pytest.param(
            [("/velo", cloud(0)), ("/tf_static", transforms())],
            {"cloud": "/velo"},
            ReplayError,
            "/velo is no truth: the bag has no camera_info",
            id="no camera_info",
        ),
        pytest.param(
            [
                ("/velo", cloud(0, frame_id="roof")),
                ("/camera_info", info(0)),
                ("/tf_static", transforms()),
            ],
            {},
            TransformError,
            "roof",
            id="not connected",
        ),
        pytest.param([], {"tolerance": -0.1}, ReplayError, "-0.1", id="tolerance"),
        pytest.param([], {"tolerance": math.nan}, ReplayError, "nan", id="tolerance nan"),
        pytest.param([], {"rectify": "sometimes"}, ReplayError, "'sometimes'", id="rectify"),
        pytest.param([], {"image": "/eye"}, ReplayError, "/eye is not in bag ", id="topic"),
    ],
)
def test_what_cannot_be_is_refused_at_once(tmp_path, events, options, error, text):
    bag = bag_of(tmp_path / "bag", [*events, ("/image", image(0))])
    with pytest.raises(error, match=text) as caught:
        BagFrames(bag, FrameOptions(**options))
    assert "\n" not in str(caught.value)


def test_a_cloud_of_the_camera_needs_no_transform(tmp_path):
    events = [("/camera_info", info(0)), ("/image", image(0))]
    points = np.array([[0, 0, 4, 0], [0.2, 0.2, 3, 0]], np.float32)
    events.append(("/points", scan_message(points, stamp=START, frame_id="eye")))
    (item,) = BagFrames(bag_of(tmp_path / "bag", events), FrameOptions(keep_hidden=True))
    assert sorted(item.frame.depth[item.frame.depth > 0]) == [3, 4]


def test_bag_damaged_halfway(tmp_path):
    """Frames around the damage are read, also images that still wait for truth."""
    events = [("/depth", depth(0, np.ones((200, 300))))]
    events += [("/image", image(ms, rgb=np.full((200, 300, 3), 7, np.uint8))) for ms in range(40)]
    bag = bag_of(tmp_path / "bag", events)
    frames = BagFrames(bag)
    data = bytearray((bag / "bag.mcap").read_bytes())
    data[len(data) // 2 : -20_000] = bytes(len(data) - len(data) // 2 - 20_000)
    (bag / "bag.mcap").write_bytes(data)
    read = list(frames)
    assert 5 < len(read) < 40
    assert read[0].frame.depth is not None
    assert any("chunks of bag.mcap are damaged and skipped" in note for note in frames.notes)


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_truncated_file(tmp_path, share):
    bag = bag_of(tmp_path / "bag", drive_events(20))
    file = bag / "bag.mcap"
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
    frames = BagFrames(bag)
    read = list(frames)
    assert 20 * share - 4 < len(read) < 20
    for index, item in enumerate(read):
        np.testing.assert_array_equal(item.frame.rgb, picture(index))
    assert any("ends early" in note for note in frames.notes)


def test_generated_drive(tmp_path):
    drive = Drive(3, frames=2, camera=Camera(156, 48, 90.0, 90.0, 77.5, 20.0))
    write_bag(drive, tmp_path / "bag")
    exact = list(BagFrames(tmp_path / "bag"))
    measured = list(BagFrames(tmp_path / "bag", FrameOptions(truth="lidar")))
    assert [item.stamp for item in exact] == [item.stamp for item in measured]
    assert BagFrames(tmp_path / "bag").topics.depth == DEPTH_TRUTH_TOPIC
    for index, (whole, sparse) in enumerate(zip(exact, measured, strict=True)):
        rgb, truth = drive.picture(index)
        np.testing.assert_array_equal(whole.frame.rgb, rgb)
        np.testing.assert_array_equal(whole.frame.depth, truth)
        hit = (sparse.frame.depth > 0) & np.isfinite(truth)
        assert hit.sum() > 200
        error = np.abs(sparse.frame.depth[hit] - truth[hit]) / truth[hit]
        assert np.median(error) < 0.02


def moved(ms, *, parent="odom", child="laser"):
    """Where the laser is when it drives 10 m/s forwards, as it turns a little."""
    turn = np.deg2rad(0.01 * ms)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    matrix[:2, 3] = 0.01 * ms, 0.3
    return transforms_message([(parent, child, matrix)], stamp=START + ms * MS)


def wall(ms, *, frame_id="laser"):
    """Scan of a wall across the road, 30 m from where the laser starts."""
    across, up = np.meshgrid(np.linspace(-25, 25, 60), np.linspace(-8, 8, 30))
    points = np.stack((np.full_like(up, 30), across, up, np.ones_like(up)), -1).reshape(-1, 4)
    matrix = read_link(moved(ms).transforms[0]).matrix
    scan = points @ np.linalg.inv(matrix).T
    return scan_message(scan.astype(np.float32), stamp=START + ms * MS, frame_id=frame_id)


def moving_events(*, delay=0, topic="/tf", scans=range(0, 1000, 100), known=range(0, 1000, 20)):
    """Images and scans of a laser that drives towards a wall; transforms recorded later."""
    events = [("/tf_static", transforms(), -1), ("/camera_info", info(0), -1)]
    for ms in range(0, 1000, 20):
        if ms in known:
            events.append((topic, moved(ms), ms + delay))
        if ms in scans:
            events.append(("/velo", wall(ms), ms))
        if not (ms - 40) % 100:
            events.append(("/image", image(ms), ms))
    return sorted(events, key=lambda event: event[2])


def wall_of(item):
    """Depth of the wall in the picture of a camera that turned with the laser."""
    ms = (item.stamp - START) // MS
    pose = read_link(moved(ms).transforms[0]).matrix @ np.linalg.inv(LASER_TO_EYE)
    row, column = np.mgrid[:8, :16]
    rays = np.stack(((column - 7.5) / 20, (row - 3.5) / 20, np.ones((8, 16))), -1)
    return (30 - pose[0, 3]) / (rays @ pose[0, :3])


def counted(monkeypatch):
    """How many scans each truth is made of."""
    counts = []

    def count(scans, *args, **options):
        counts.append(len(scans))
        return scan_truth(scans, *args, **options)

    monkeypatch.setattr("depthformer_core.replay.bag_frames.scan_truth", count)
    return counts


@pytest.mark.parametrize("options", [{}, {"delay": 300}, {"topic": "/robot/tf"}], ids=str)
def test_scans_are_added_up_where_the_robot_was(tmp_path, monkeypatch, options):
    counts = counted(monkeypatch)
    frames = BagFrames(
        bag_of(tmp_path / "bag", moving_events(**options)), FrameOptions(accumulate=2)
    )
    for _ in range(2):
        counts.clear()
        read = list(frames)
        assert len(read) == 10
        for item in read:
            known = item.frame.depth > 0
            assert known.mean() > 0.9
            # A point may lie half a pixel from its middle.
            np.testing.assert_allclose(
                item.frame.depth[known], wall_of(item)[known], rtol=0, atol=0.15
            )
        # 40 ms after the scan that matches; at the ends there are fewer.
        assert counts == [3, 4, 5, 5, 5, 5, 5, 5, 4, 3]
        assert frames.notes == []


def test_without_accumulation_transforms_are_not_read(tmp_path):
    events = moving_events()
    bag = bag_of(tmp_path / "bag", events)
    bare = bag_of(tmp_path / "bare", [event for event in events if event[0] != "/tf"])
    frames = BagFrames(bag)
    for item, other in zip(frames, BagFrames(bare), strict=True):
        np.testing.assert_array_equal(item.frame.depth, other.frame.depth)
    with BagWriter(tmp_path / "odd") as writer:
        for topic, message, ms in events:
            writer.write(topic, message, stamp=START + ms * MS)
            if topic == "/tf":
                writer.write_cdr(topic, message.__msgtype__, b"\0\1", stamp=START + ms * MS)
    assert BagFrames(tmp_path / "odd").notes == frames.notes == []
    odd = BagFrames(tmp_path / "odd", FrameOptions(accumulate=1))
    assert all(item.frame.depth is not None for item in odd)
    assert odd.notes == ["50 transforms on /tf were skipped: the message is damaged."]


def test_scans_that_transforms_do_not_reach_are_left_out(tmp_path, monkeypatch):
    counts = counted(monkeypatch)
    bag = bag_of(tmp_path / "bag", moving_events(known=range(320, 1000, 20)))
    frames = BagFrames(bag, FrameOptions(accumulate=1))
    assert [item.frame.depth is not None for item in frames] == [*[False] * 3, *[True] * 7]
    # The image at 340 ms matches the scan at 300 ms, which is too early, like that before.
    assert counts == [1, 2, 3, 3, 3, 3, 2]
    reason = "the transforms of frame 'laser' do not reach its time."
    assert frames.notes == [
        f"3 of 10 images have no truth: {reason}",
        f"3 times a scan was not added to the others of an image: {reason}",
    ]


def test_a_scan_that_is_unusable_leaves_the_others(tmp_path, monkeypatch):
    counts = counted(monkeypatch)
    events = moving_events()
    scans = [message for topic, message, _ in events if topic == "/velo"]
    scans[5].fields = scans[5].fields[:2]
    frames = BagFrames(bag_of(tmp_path / "bag", events), FrameOptions(accumulate=1))
    assert all(item.frame.depth is not None for item in frames)
    assert counts == [2, 3, 3, 3, 2, 2, 2, 3, 3, 2]
    assert [note.partition(":")[0] for note in frames.notes] == [
        "3 times a scan was not added to the others of an image"
    ]


def test_a_fixed_frame_that_is_unknown(tmp_path):
    frames = BagFrames(
        bag_of(tmp_path / "bag", moving_events()), FrameOptions(accumulate=1, fixed_frame="map")
    )
    assert all(item.frame.depth is None for item in frames)
    assert frames.notes == [
        "10 of 10 images have no truth: no transforms connect frame 'laser' to 'map'; "
        "there are only between eye, laser, odom."
    ]


def test_scans_are_added_up_in_a_ros1_bag(tmp_path):
    """With the message of ROS 1's first transforms, which hold the static ones too."""
    store = get_typestore(Stores.ROS1_NOETIC)
    definition = "geometry_msgs/TransformStamped[] transforms"
    store.register(get_types_from_msg(definition, "tf/msg/tfMessage"))

    def converted(message, name=None):
        """The same message of ROS 1's types."""
        if isinstance(message, list):
            return [converted(item) for item in message]
        name = name or getattr(message, "__msgtype__", None)
        if name is None:
            return message
        cls = store.types[name]
        values = vars(message) | ({"seq": 0} if name == "std_msgs/msg/Header" else {})
        names = {"d": "D", "k": "K", "r": "R", "p": "P"} if name.endswith("CameraInfo") else {}
        return cls(**{names.get(key, key): converted(value) for key, value in values.items()
                      if key != "__msgtype__"})  # fmt: skip

    with Writer1(tmp_path / "drive.bag") as writer:
        connections = {}
        for topic, message, ms in moving_events():
            if topic == "/tf_static":
                continue
            kind = "tf/msg/tfMessage" if topic == "/tf" else message.__msgtype__
            if topic == "/tf":
                fixed = transforms().transforms[0]
                fixed.header.stamp = message.transforms[0].header.stamp
                message.transforms.append(fixed)
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=store)
            data = store.serialize_ros1(converted(message, kind), kind)
            writer.write(connections[topic], START + (ms + 1) * MS, data)
    frames = BagFrames(tmp_path / "drive.bag", FrameOptions(accumulate=2))
    read = list(frames)
    assert frames.notes == []
    for item in read:
        known = item.frame.depth > 0
        np.testing.assert_allclose(item.frame.depth[known], wall_of(item)[known], rtol=0, atol=0.15)


@pytest.mark.parametrize(
    ("events", "options", "text"),
    [
        pytest.param(
            [event for event in moving_events() if event[0] != "/tf"],
            {"accumulate": 1},
            "accumulate needs the motion of the robot in 'odom': the bag has no /tf; "
            "frames of its /tf_static: eye, laser",
            id="no tf",
        ),
        pytest.param(
            [*moving_events(), ("/depth", depth(0, np.ones((8, 16))))],
            {"accumulate": 1},
            "accumulate adds up scans of a LiDAR: truth is the depth images on /depth",
            id="depth images",
        ),
        pytest.param(
            [event for event in moving_events() if event[0] != "/velo"],
            {"accumulate": 1},
            "accumulate adds up scans of a LiDAR: the bag has no depth images or clouds",
            id="no clouds",
        ),
        pytest.param(
            [event for event in moving_events() if event[0] != "/camera_info"],
            {"accumulate": 1},
            "/velo is no truth: the bag has no camera_info",
            id="no camera_info",
        ),
        pytest.param(
            moving_events(), {"accumulate": 21}, "accumulate must be 0 to 20 .*got 21", id="many"
        ),
        pytest.param(moving_events(), {"accumulate": -1}, "got -1", id="negative"),
    ],
)
def test_what_cannot_be_added_up_is_refused_at_once(tmp_path, events, options, text):
    with pytest.raises(ReplayError, match=text) as caught:
        BagFrames(bag_of(tmp_path / "bag", events), FrameOptions(**options))
    assert "\n" not in str(caught.value)


def test_added_up_scans_are_right(tmp_path):
    """The exact depth of a generated drive; the ends have fewer scans around them."""
    camera = Camera(621, 188, 360.8, 360.8, 304.8, 86.4)
    write_bag(Drive(12, frames=5, camera=camera, traffic=False), tmp_path / "bag")
    exact = [item.frame.depth for item in BagFrames(tmp_path / "bag")]
    pixels = {}
    for count in (0, 2):
        measured = BagFrames(tmp_path / "bag", FrameOptions(truth="lidar", accumulate=count))
        pixels[count] = right = 0
        for item, truth in zip(measured, exact, strict=True):
            known = item.frame.depth > 0
            pixels[count] += known.sum()
            right += (abs(item.frame.depth[known] / truth[known] - 1) <= 0.02).sum()
        assert right > 0.99 * pixels[count]
        assert measured.notes == []
    assert pixels[2] > 1.8 * pixels[0]


def test_clouds_that_are_too_large_are_counted(tmp_path):
    """Their points would take many times the memory of their message."""
    large = cloud(0)
    large.width, large.point_step, large.row_step = 2**23 + 1, 0, 0
    events = [("/tf_static", transforms()), ("/camera_info", info(0)), ("/image", image(0))]
    frames = BagFrames(bag_of(tmp_path / "bag", [*events, ("/velo", large)]))
    (item,) = frames
    assert item.frame.depth is None
    assert "no truth: a cloud of 8388609 points is more than 8388608." in frames.notes[0]


def test_images_are_numbered_with_those_that_are_unusable(tmp_path):
    broken = image(100)
    broken.data = broken.data[:9]
    events = [("/image", image(0)), ("/image", broken), ("/image", image(200))]
    assert [item.index for item in BagFrames(bag_of(tmp_path / "bag", events))] == [0, 2]


def test_real_drive_is_projected_as_with_its_calibration(samples, tmp_path):
    root = samples / "kitti_raw" / "2011_09_26" / "2011_09_26_drive_0052_sync"
    drive_to_bag(root, tmp_path / "bag", frames=3)
    drive = KittiDrive(root)
    bare = BagFrames(tmp_path / "bag", FrameOptions(keep_hidden=True))
    for index, item in enumerate(bare):
        frame, wanted = item.frame, drive.scan_depth(index)
        np.testing.assert_array_equal(frame.rgb, drive.image(index))
        assert frame.camera == drive.camera
        both = (frame.depth > 0) & (wanted > 0)
        # The transform's quaternion moves a point of 20,000 across the border of its pixel.
        assert ((frame.depth > 0) != (wanted > 0)).sum() <= 2
        np.testing.assert_allclose(frame.depth[both], wanted[both], rtol=0, atol=0.01)
    assert bare.notes == []
    for seen, item in zip(BagFrames(tmp_path / "bag"), bare, strict=True):
        kept = seen.frame.depth > 0
        assert 0.7 < kept.sum() / (item.frame.depth > 0).sum() < 1
        np.testing.assert_array_equal(seen.frame.depth[kept], item.frame.depth[kept])


def test_memory_is_flat(tmp_path):
    """Memory for a long bag without further scans is that for a short one."""
    with BagWriter(tmp_path / "bag", storage="sqlite3") as writer:
        rgb = np.zeros((375, 1242, 3), np.uint8)
        values = np.ones((375, 1242), np.float32)
        for index in range(90):
            stamp = START + 100 * index * MS
            message = image_message(rgb, stamp=stamp, frame_id="eye")
            writer.write("/image", message, stamp=stamp)
            if index < 45:
                message = depth_message(values, stamp=stamp, frame_id="eye")
                writer.write("/depth", message, stamp=stamp)
    code = """
import json, resource, sys
from depthformer_core.replay.bag_frames import BagFrames
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
frames = BagFrames(sys.argv[1])
start, peaks = peak(), []
for item in frames:
    peaks.append(peak() - start)
print(json.dumps(peaks))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "bag")],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    peaks = json.loads(done.stdout)
    assert len(peaks) == 90
    assert peaks[-1] < 110, peaks


def test_topics_are_read_as_the_reader_lists_them(tmp_path):
    bag = bag_of(tmp_path / "bag", drive_events())
    with BagReader(bag) as reader:
        assert reader.topics["/cam/image_rect"].count == len(BagFrames(bag))


# Recordings as other people have them.


def kitti2bag_info():
    """As kitti2bag writes it: K and D of the raw camera, of another size, beside P."""
    return info(
        0,
        camera=Camera(1242, 375, 721.5377, 721.5377, 609.5593, 172.854),
        k=np.array([959.79, 0, 696.02, 0, 956.93, 224.18, 0, 0, 1]),
        d=np.array([-0.3691, 0.1969, 0.001353, 0.000567, -0.0677]),
        p=np.array([721.5377, 0, 609.5593, 44.857, 0, 721.5377, 172.854, 0.2163, 0, 0, 1, 0.0027]),
    )


@pytest.mark.parametrize("camera", ["gray_left", "gray_right", "color_left", "color_right"])
@pytest.mark.parametrize("namespace", ["", "/car"])
def test_images_of_kitti2bag_are_rectified_already(tmp_path, camera, namespace):
    rgb = np.full((375, 1242, 3), 90, np.uint8)
    topic = f"{namespace}/kitti/camera_{camera}"
    events = [(f"{topic}/camera_info", kitti2bag_info()), (f"{topic}/image_raw", image(0, rgb=rgb))]
    frames = BagFrames(bag_of(tmp_path / "bag", events), FrameOptions(truth="none"))
    (item,) = frames
    np.testing.assert_array_equal(item.frame.rgb, rgb)
    assert item.frame.camera == Camera(1242, 375, 721.5377, 721.5377, 609.5593, 172.854)
    assert len(frames.notes) == 1


def test_rectification_that_leaves_much_black_is_noted(tmp_path):
    rgb = np.full((375, 1242, 3), 90, np.uint8)
    events = [("/cam/camera_info", kitti2bag_info()), ("/cam/image_raw", image(0, rgb=rgb))]
    frames = BagFrames(bag_of(tmp_path / "bag", events), FrameOptions(truth="none"))
    list(frames)
    (note,) = frames.notes[1:]
    assert note == (
        "Rectification makes 32% of the images black: if they are rectified already, use "
        "--rectify never."
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"distortion_model": "equidistant", "d": np.array([0.1, 0.01, 0, 0])},
        {"distortion_model": "omnidirectional", "d": np.ones(5)},
        {"distortion_model": "plumb_bob", "d": np.full(5, np.nan)},
        {"distortion_model": "plumb_bob", "d": np.ones(8)},
        {"k": np.zeros(9)},
        {"r": np.ones(9)},
    ],
    ids=["fisheye", "unknown model", "not finite", "too many terms", "no K", "no rotation"],
)
@pytest.mark.parametrize(
    ("topic", "options"), [("/cam/image_rect", {}), ("/cam/image", {"rectify": "never"})]
)
def test_images_that_are_rectified_need_p_alone(tmp_path, fields, topic, options):
    events = [("/cam/camera_info", info(0, **fields)), (topic, image(0))]
    frames = BagFrames(bag_of(tmp_path / "bag", events), FrameOptions(truth="none", **options))
    (item,) = frames
    assert item.frame.camera == CAMERA
    np.testing.assert_array_equal(item.frame.rgb, picture())
    assert len(frames.notes) == 1


def test_fisheye_images_are_rectified(tmp_path):
    """A point 45 degrees aside lies where the pinhole of the rectified image sees it."""
    wide = Camera(400, 300, 120.0, 120.0, 199.5, 149.5)
    rgb = np.zeros((300, 400, 3), np.uint8)
    aside = 199.5 + 120 * math.radians(45)
    cv2.circle(rgb, (round(aside), 149), 3, (255, 255, 255), -1)
    message = info(0, camera=wide, distortion_model="equidistant", d=np.zeros(4))
    events = [("/cam/camera_info", message), ("/cam/image_raw", image(0, rgb=rgb))]
    (item,) = BagFrames(bag_of(tmp_path / "bag", events), FrameOptions(truth="none"))
    spot = np.argwhere(item.frame.rgb[..., 0] > 128).mean(axis=0)
    camera = item.frame.camera
    assert (spot[1] - camera.cx) / camera.fx == pytest.approx(1, abs=0.03)


def packed_depth(ms, values):
    """As compressed_depth_image_transport sends millimetres."""
    png = cv2.imencode(".png", np.asarray(values, np.uint16))[1].tobytes()
    message = compressed(ms, bytes(12) + png)
    message.format = "16UC1; compressedDepth png"
    return message


@pytest.mark.parametrize("truth", ["auto", "depth"])
def test_compressed_depth_is_truth(tmp_path, truth):
    values = np.full((8, 16), 3000)
    values[2, 3] = 0
    events = [("/image", image(0)), ("/depth/image/compressedDepth", packed_depth(0, values))]
    frames = BagFrames(bag_of(tmp_path / "bag", events), FrameOptions(truth=truth))
    (item,) = frames
    np.testing.assert_array_equal(item.frame.depth, values.astype(np.float32) / 1000)
    assert not any("truth" in note for note in frames.notes)


def test_damaged_compressed_depth_is_counted(tmp_path):
    damaged = packed_depth(100, np.full((8, 16), 3000))
    damaged.data = damaged.data[:-20]
    events = [("/image", image(0)), ("/depth", packed_depth(0, np.full((8, 16), 3000)))]
    events += [("/image", image(100)), ("/depth", damaged)]
    frames = BagFrames(bag_of(tmp_path / "bag", events))
    assert [item.frame.depth is not None for item in frames] == [True, False]
    assert any("1 of 2 images have no truth: data" in note for note in frames.notes)


def realsense(*, aligned, links=()):
    """Colour and depth of one size, from two lenses."""
    color = image(0, frame_id="color")
    color_info = info(0)
    color_info.header.frame_id = "color"
    other = info(0, camera=CAMERA if aligned else Camera(16, 8, 31.0, 31.0, 7.5, 3.5))
    values = depth(0, np.full((8, 16), 3.0))
    values.header.frame_id = "color" if aligned else "depth"
    return [
        ("/tf_static", transforms_message(links, stamp=START)),
        ("/color/camera_info", color_info),
        ("/color/image_raw", color),
        ("/depth/camera_info", other),
        ("/depth/image_rect_raw", values),
    ]


def test_depth_that_is_aligned_is_truth(tmp_path):
    frames = BagFrames(bag_of(tmp_path / "bag", realsense(aligned=True)))
    (item,) = frames
    assert (item.frame.depth == 3).all()
    assert frames.notes == []


def test_depth_of_another_lens_is_no_truth(tmp_path):
    frames = BagFrames(bag_of(tmp_path / "bag", realsense(aligned=False)))
    (item,) = frames
    assert item.frame.depth is None
    assert "its frame is 'depth', that of the images 'color'" in frames.notes[0]
    with pytest.raises(ReplayError, match="is not aligned to /color/image_raw"):
        BagFrames(tmp_path / "bag", FrameOptions(truth="depth"))


def test_static_transform_that_is_none_is_left_out(tmp_path):
    message = transforms_message(
        [("laser", "eye", np.linalg.inv(LASER_TO_EYE)), ("eye", "gyro", np.eye(4))], stamp=START
    )
    message.transforms[1].transform.rotation.x = math.nan
    events = [("/tf_static", message), ("/camera_info", info(0)), ("/image", image(0))]
    frames = BagFrames(bag_of(tmp_path / "bag", [*events, ("/velo", cloud(0))]))
    (item,) = frames
    assert (item.frame.depth > 0).any()
    (note,) = frames.notes
    assert "Skipped on /tf_static: transform of frame 'gyro' has the quaternion" in note


def test_shots_without_a_return_are_no_truth(tmp_path):
    """Many scanners mark them by their own origin, which the camera may see."""
    matrix = LASER_TO_EYE.copy()
    matrix[:3, 3] = 0, 0, 0.3
    scan = cloud(0)
    returns = np.frombuffer(scan.data.tobytes(), np.float32).reshape(-1, 4)
    silent = scan_message(
        np.vstack((returns, np.zeros((50, 4), np.float32))), stamp=START, frame_id="laser"
    )
    depths = []
    for name, message in (("returns", scan), ("silence", silent)):
        static = transforms_message([("eye", "laser", matrix)], stamp=START)
        events = [("/tf_static", static), ("/camera_info", info(0)), ("/image", image(0))]
        bag = bag_of(tmp_path / name, [*events, ("/velo", message)])
        (item,) = BagFrames(bag, FrameOptions(keep_hidden=True))
        depths.append(item.frame.depth)
    np.testing.assert_array_equal(*depths)
    assert depths[0].max() > 0
