import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin
from rosbags.rosbag2 import Reader as RawReader
from rosbags.rosbag2 import Writer as RawWriter
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from ruamel.yaml import YAML

from depthformer_core.bags import TYPESTORE, BagError, BagReader, BagWriter, Topic
from depthformer_core.bags.image_messages import image_to_rgb
from depthformer_core.bags.messages import (
    camera_info_message,
    header_stamp,
    image_message,
)
from depthformer_core.geometry.camera import Camera

START = 1_317_042_272_123_456_789
IMAGE = "/camera/image"
CAMERA = Camera(16, 8, 20.0, 20.0, 8.0, 4.0)


def picture(seed):
    return np.random.default_rng(seed).integers(0, 256, (8, 16, 3), dtype=np.uint8)


def write_frames(path, *, count=3, storage="mcap"):
    with BagWriter(path, storage=storage) as writer:
        for index in range(count):
            stamp = START + index * 100_000_000
            image = image_message(picture(index), stamp=stamp, frame_id="camera")
            info = camera_info_message(CAMERA, stamp=stamp, frame_id="camera")
            writer.write(IMAGE, image, stamp=stamp)
            writer.write("/camera/info", info, stamp=stamp)
    return path


def ros1_bag(path, *, compression=None, topic=IMAGE):
    """Three images, an own type and a type with a changed definition, as ROS 1 records them."""
    store = get_typestore(Stores.ROS1_NOETIC)
    store.register(get_types_from_msg("std_msgs/Header header\nfloat64 speed", "own/msg/Speed"))
    types = store.types
    writer = Writer1(path)
    if compression is not None:
        writer.set_compression(Writer1.CompressionFormat[compression])
    with writer:
        images = writer.add_connection(topic, "sensor_msgs/msg/Image", typestore=store)
        speeds = writer.add_connection("/speed", "own/msg/Speed", typestore=store)
        lists = writer.add_connection("/parts", "std_msgs/msg/MultiArrayDimension", typestore=store)
        for index in range(3):
            stamp = START + index * 100_000_000
            time = types["builtin_interfaces/msg/Time"](stamp // 10**9, stamp % 10**9)
            head = types["std_msgs/msg/Header"](index, time, "camera")
            pixels = picture(index)
            image = types["sensor_msgs/msg/Image"](head, 8, 16, "rgb8", 0, 48, pixels.reshape(-1))
            speed = types["own/msg/Speed"](head, 1.5 * index)
            part = types["std_msgs/msg/MultiArrayDimension"]("row", 3, 9)
            for connection, message in ((images, image), (speeds, speed), (lists, part)):
                data = store.serialize_ros1(message, connection.msgtype)
                writer.write(connection, stamp, data)
    return path


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("way", ["folder", "metadata", "file"])
def test_written_bag_reads_back(tmp_path, storage, way):
    bag = write_frames(tmp_path / "deep" / "bag", storage=storage)
    suffix = {"mcap": ".mcap", "sqlite3": ".db3"}[storage]
    path = {"folder": bag, "metadata": bag / "metadata.yaml", "file": bag / f"bag{suffix}"}[way]

    with BagReader(path) as reader:
        assert reader.topics == {
            IMAGE: Topic(IMAGE, "sensor_msgs/msg/Image", 3),
            "/camera/info": Topic("/camera/info", "sensor_msgs/msg/CameraInfo", 3),
        }
        assert reader.start == START
        assert reader.duration == pytest.approx(0.2, abs=1e-12)
        messages = list(reader.messages())
        images = [item.message() for item in reader.messages([IMAGE])]
        infos = [item.message() for item in reader.messages({"/camera/info"})]

    assert [item.stamp for item in messages] == sorted(item.stamp for item in messages)
    assert len(messages) == 6
    for index, (image, info) in enumerate(zip(images, infos, strict=True)):
        np.testing.assert_array_equal(image_to_rgb(image), picture(index))
        assert header_stamp(image) == header_stamp(info) == START + index * 100_000_000
        assert image.header.frame_id == "camera"
        np.testing.assert_array_equal(info.k, [20, 0, 8, 0, 20, 4, 0, 0, 1])


def test_raw_messages_are_copied_byte_for_byte(tmp_path):
    source = write_frames(tmp_path / "source")
    with BagReader(source) as reader, BagWriter(tmp_path / "copy", storage="sqlite3") as writer:
        for item in reader.messages():
            writer.write_cdr(item.topic, item.type, item.data, stamp=item.stamp)
    with BagReader(source) as first, BagReader(tmp_path / "copy") as second:
        assert sorted(map(repr, first.messages())) == sorted(map(repr, second.messages()))
        assert {item.data for item in first.messages()} == {item.data for item in second.messages()}


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_latched_topic_offers_transient_local(tmp_path, storage):
    empty = TYPESTORE.types["tf2_msgs/msg/TFMessage"](transforms=[])
    with BagWriter(tmp_path / "bag", storage=storage) as writer:
        writer.write("/tf_static", empty, stamp=START, latched=True)
        writer.write("/tf", empty, stamp=START)
    with RawReader(tmp_path / "bag") as reader:
        profiles = {item.topic: item.ext.offered_qos_profiles for item in reader.connections}
    assert [profile.durability.name for profile in profiles["/tf_static"]] == ["TRANSIENT_LOCAL"]
    assert [profile.reliability.name for profile in profiles["/tf_static"]] == ["RELIABLE"]
    assert profiles["/tf"] == []
    metadata = (tmp_path / "bag" / "metadata.yaml").read_text()
    assert "version: 8" in metadata  # read by Humble and by Jazzy


@pytest.mark.parametrize(
    ("storage", "mode"),
    [
        ("mcap", "FILE"),
        ("mcap", "MESSAGE"),
        ("mcap", "STORAGE"),
        ("sqlite3", "FILE"),
        ("sqlite3", "MESSAGE"),
    ],
)
def test_compressed_bags(tmp_path, storage, mode):
    plain = write_frames(tmp_path / "plain")
    raw = RawWriter(tmp_path / "bag", version=8, storage_plugin=StoragePlugin[storage.upper()])
    raw.set_compression(CompressionMode[mode], CompressionFormat.ZSTD)
    with raw, BagReader(plain) as reader:
        connections = {}
        for item in reader.messages():
            if item.topic not in connections:
                connections[item.topic] = raw.add_connection(
                    item.topic, item.type, typestore=TYPESTORE
                )
            raw.write(connections[item.topic], item.stamp, item.data)
    with BagReader(tmp_path / "bag") as reader:
        images = [image_to_rgb(item.message()) for item in reader.messages([IMAGE])]
    assert len(images) == 3
    for index, image in enumerate(images):
        np.testing.assert_array_equal(image, picture(index))


def test_split_bag_is_one_bag(tmp_path):
    """Two files under one metadata.yaml, as of `ros2 bag record --max-bag-size`."""
    bag = tmp_path / "bag"
    bag.mkdir()
    for part in range(2):
        with BagWriter(tmp_path / f"part{part}", storage="sqlite3") as writer:
            stamp = START + part
            image = image_message(picture(part), stamp=stamp, frame_id="camera")
            writer.write(IMAGE, image, stamp=stamp)
        shutil.copy(tmp_path / f"part{part}" / f"part{part}.db3", bag)
    yaml = YAML(typ="safe")
    metadata = yaml.load((tmp_path / "part0" / "metadata.yaml").read_text())
    information = metadata["rosbag2_bagfile_information"]
    information["relative_file_paths"] = ["part0.db3", "part1.db3"]
    information["message_count"] = 2
    with (bag / "metadata.yaml").open("w") as file:
        yaml.dump(metadata, file)
    with BagReader(bag) as reader:
        assert [item.stamp for item in reader.messages()] == [START, START + 1]


def test_files_without_metadata_of_a_killed_recorder(tmp_path):
    bag = write_frames(tmp_path / "bag")
    (bag / "metadata.yaml").unlink()
    with BagReader(bag) as reader:
        assert reader.topics[IMAGE].count == 3


def test_bag_without_definitions(tmp_path):
    """Humble's SQLite bags do not describe their types."""
    bag = write_frames(tmp_path / "bag", storage="sqlite3")
    connection = sqlite3.connect(bag / "bag.db3")
    connection.execute("DELETE FROM message_definitions")
    connection.execute(
        "UPDATE topics SET type = 'robot_msgs/msg/Battery' WHERE name = '/camera/info'"
    )
    connection.commit()
    connection.close()
    with BagReader(bag / "bag.db3") as reader:
        first = next(reader.messages([IMAGE]))
        unknown = next(reader.messages(["/camera/info"]))
        np.testing.assert_array_equal(image_to_rgb(first.message()), picture(0))
        with pytest.raises(BagError, match="robot_msgs/msg/Battery"):
            unknown.message()


@pytest.mark.parametrize("compression", [None, "BZ2", "LZ4"])
def test_ros1_bag_reads_as_ros2(tmp_path, compression):
    bag = ros1_bag(tmp_path / "drive.bag", compression=compression)
    with BagReader(bag) as reader:
        assert reader.topics[IMAGE] == Topic(IMAGE, "sensor_msgs/msg/Image", 3)
        assert reader.start == START
        assert reader.duration == pytest.approx(0.2, abs=1e-12)
        images = list(reader.messages([IMAGE]))
        speeds = [item.message() for item in reader.messages(["/speed"])]
    for index, item in enumerate(images):
        image = TYPESTORE.deserialize_cdr(item.data, item.type)
        assert header_stamp(image) == START + index * 100_000_000
        assert not hasattr(image.header, "seq")
        np.testing.assert_array_equal(image_to_rgb(image), picture(index))
        np.testing.assert_array_equal(image_to_rgb(item.message()), picture(index))
    assert [(item.speed, item.header.frame_id) for item in speeds] == [
        (0.0, "camera"),
        (1.5, "camera"),
        (3.0, "camera"),
    ]


def test_ros1_type_that_changed_is_migrated(tmp_path):
    store = get_typestore(Stores.ROS1_NOETIC)
    name = "visualization_msgs/msg/Marker"
    types = store.types
    zero = types["builtin_interfaces/msg/Time"](1, 2)
    pose = types["geometry_msgs/msg/Pose"](
        types["geometry_msgs/msg/Point"](1.0, 2.0, 3.0),
        types["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0),
    )
    marker = types[name](
        types["std_msgs/msg/Header"](7, zero, "map"), "n", 3, 0, 0, pose,
        types["geometry_msgs/msg/Vector3"](1.0, 1.0, 1.0),
        types["std_msgs/msg/ColorRGBA"](1.0, 0.0, 0.0, 1.0),
        types["builtin_interfaces/msg/Duration"](0, 0), False, [], [], "text", "", False,
    )  # fmt: skip
    with Writer1(tmp_path / "marker.bag") as writer:
        connection = writer.add_connection("/marker", name, typestore=store)
        writer.write(connection, START, store.serialize_ros1(marker, name))
    with BagReader(tmp_path / "marker.bag") as reader:
        item = next(reader.messages())
    migrated = TYPESTORE.deserialize_cdr(item.data, name)
    assert (migrated.text, migrated.header.frame_id, migrated.pose.position.z) == (
        "text",
        "map",
        3,
    )


def test_exception_leaves_nothing(tmp_path):
    def fail_halfway():
        with BagWriter(tmp_path / "bag") as writer:
            writer.write(IMAGE, image_message(picture(0), stamp=1, frame_id=""), stamp=1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_halfway()
    assert list(tmp_path.iterdir()) == []


def test_bag_appears_only_when_finished(tmp_path):
    with BagWriter(tmp_path / "bag") as writer:
        writer.write(IMAGE, image_message(picture(0), stamp=1, frame_id=""), stamp=1)
        assert not (tmp_path / "bag").exists()
    assert [item.name for item in tmp_path.iterdir()] == ["bag"]
    assert sorted(item.name for item in (tmp_path / "bag").iterdir()) == [
        "bag.mcap",
        "metadata.yaml",
    ]


def test_empty_bag(tmp_path):
    with BagWriter(tmp_path / "bag"):
        pass
    with BagReader(tmp_path / "bag") as reader:
        assert (reader.topics, reader.start, reader.duration) == ({}, 0, 0.0)
        assert list(reader.messages()) == []


def test_no_topics_wanted_is_no_message(tmp_path):
    with BagReader(write_frames(tmp_path / "bag")) as reader:
        assert list(reader.messages([])) == []


def test_unknown_topic_is_named(tmp_path):
    with (
        BagReader(write_frames(tmp_path / "bag")) as reader,
        pytest.raises(BagError, match=r"/lidar; it has /camera/image, /camera/info"),
    ):
        reader.messages(["/lidar"])


def bad_missing(tmp_path):
    return tmp_path / "nothing"


def bad_folder(tmp_path):
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder"


def bad_text(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("no bag")
    return path


def bad_mcap(tmp_path):
    path = tmp_path / "x.mcap"
    path.write_bytes(b"no mcap at all, but long enough to hold what a footer would hold")
    return path


def bad_db3(tmp_path):
    path = tmp_path / "x.db3"
    path.write_bytes(b"no database" * 100)
    return path


def bad_ros1(tmp_path):
    path = tmp_path / "x.bag"
    path.write_bytes(b"#ROSBAG V1.2\n")
    return path


def bad_empty(tmp_path):
    path = tmp_path / "x.mcap"
    path.touch()
    return path


def bad_lost_file(tmp_path):
    bag = write_frames(tmp_path / "bag")
    (bag / "bag.mcap").unlink()
    return bag


@pytest.mark.parametrize(
    "make",
    [
        bad_missing,
        bad_folder,
        bad_text,
        bad_mcap,
        bad_db3,
        bad_ros1,
        bad_empty,
        bad_lost_file,
    ],
    ids=lambda make: make.__name__.removeprefix("bad_"),
)
def test_no_bag_is_named(tmp_path, make):
    path = make(tmp_path)

    def read():
        with BagReader(path) as reader:
            list(reader.messages())

    with pytest.raises(BagError, match=path.name):
        read()


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 0.99])
def test_truncated_ros1_bag_is_named(tmp_path, share):
    path = ros1_bag(tmp_path / "x.bag")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(BagError, match=r"x\.bag.*rosbag reindex"), BagReader(path):
        pass


def test_damaged_message_is_named(tmp_path):
    with BagWriter(tmp_path / "bag") as writer:
        writer.write_cdr(IMAGE, "sensor_msgs/msg/Image", b"\x00\x01\x00\x00abc", stamp=5)
    with BagReader(tmp_path / "bag") as reader:
        item = next(reader.messages())
        with pytest.raises(BagError, match=r"at 5 on /camera/image is no valid sensor_msgs"):
            item.message()


def test_writer_refuses(tmp_path):
    image = image_message(picture(0), stamp=1, frame_id="")
    info = camera_info_message(CAMERA, stamp=1, frame_id="")
    (tmp_path / "there").mkdir()
    with pytest.raises(BagError, match="there exists"):
        BagWriter(tmp_path / "there")
    with pytest.raises(BagError, match="'hdf5'"):
        BagWriter(tmp_path / "bag", storage="hdf5")
    with pytest.raises(BagError, match="not open"):
        BagWriter(tmp_path / "bag").write(IMAGE, image, stamp=1)
    with BagWriter(tmp_path / "bag") as writer:
        writer.write(IMAGE, image, stamp=1)
        with pytest.raises(BagError, match="holds sensor_msgs/msg/Image"):
            writer.write(IMAGE, info, stamp=2)
        with pytest.raises(BagError, match="latched: True"):
            writer.write(IMAGE, image, stamp=2, latched=True)
        with pytest.raises(BagError, match="-1"):
            writer.write(IMAGE, image, stamp=-1)
        with pytest.raises(BagError, match="'own/msg/Thing'"):
            writer.write_cdr("/thing", "own/msg/Thing", b"", stamp=2)
        with pytest.raises(BagError, match="'text'"):
            writer.write("/text", "text", stamp=2)
        wrong = TYPESTORE.types["std_msgs/msg/UInt8"](data=999)
        with pytest.raises(BagError, match="std_msgs/msg/UInt8"):
            writer.write("/number", wrong, stamp=2)
    with BagReader(tmp_path / "bag") as reader:
        assert reader.topics[IMAGE].count == 1


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_memory_is_flat(tmp_path, storage):
    """A bag of 84 MB is written and read in a process that grows by far less."""
    code = """
import json, resource, sys
import numpy as np
from depthformer_core.bags import BagReader, BagWriter
from depthformer_core.bags.messages import image_message
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
rgb = np.zeros((375, 1242, 3), np.uint8)
before = peak()
with BagWriter(sys.argv[1], storage=sys.argv[2]) as writer:
    for stamp in range(60):
        writer.write("/i", image_message(rgb, stamp=stamp, frame_id=""), stamp=stamp)
with BagReader(sys.argv[1]) as reader:
    count = sum(len(item.data) > 1_000_000 for item in reader.messages())
print(json.dumps([count, peak() - before]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "bag"), storage],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    count, growth = json.loads(done.stdout)
    assert count == 60
    assert growth < 40, f"{growth} MiB"
