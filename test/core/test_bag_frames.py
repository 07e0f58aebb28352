"""Frames of bags: images, their cameras and rectification."""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from bag_recordings import (
    CAMERA,
    MS,
    START,
    bag_of,
    cloud,
    compressed,
    depth,
    image,
    info,
    picture,
    transforms,
)
from rosbags.rosbag1 import Writer as Writer1
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from ruamel.yaml import YAML

from depthformer_core.bags import BagReader, BagWriter
from depthformer_core.bags.messages import (
    depth_message,
    image_message,
)
from depthformer_core.bags.topics import Topics
from depthformer_core.geometry.camera import Camera
from depthformer_core.replay.bag_frames import BagFrames
from depthformer_core.replay.frame_plan import FrameOptions


def encoded(ms, samples, encoding):
    """Image of (H, bytes of a row) samples."""
    message = image(ms)
    message.encoding, message.step = encoding, samples.shape[1]
    message.data = np.ascontiguousarray(samples).reshape(-1)
    return message


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


def test_images_are_numbered_with_those_that_are_unusable(tmp_path):
    broken = image(100)
    broken.data = broken.data[:9]
    events = [("/image", image(0)), ("/image", broken), ("/image", image(200))]
    assert [item.index for item in BagFrames(bag_of(tmp_path / "bag", events))] == [0, 2]


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
