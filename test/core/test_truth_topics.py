"""Selection of the ground truth of a bag."""

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as RawWriter
from topic_recordings import (
    cloud,
    compressed,
    depth,
    find,
    image,
    info,
)

from depthformer_core.bags import TYPESTORE, BagReader
from depthformer_core.bags.errors import ReplayError
from depthformer_core.bags.messages import (
    header,
)
from depthformer_core.bags.topics import find_topics


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("/depth/image/compressedDepth", "16UC1; compressedDepth png"),
        ("/depth/image/compressedDepth", "16UC1; compressedDepth"),
        ("/depth/image/compressedDepth", "32FC1; compressedDepth png"),
        ("/depth/image/compressedDepth", "16UC1; compressedDepth rvl"),
        ("/depth/image/compressed", "16UC1; png compressed "),
        ("/depth/packed", "16UC1;png compressed"),
    ],
)
def test_compressed_depth_is_depth(tmp_path, name, text):
    found = find(tmp_path, {"/cam/image": image(), name: compressed(text)})
    assert (found.image, found.depth) == ("/cam/image", name)


@pytest.mark.parametrize(
    ("topics", "taken"),
    [
        (("", "/compressedDepth", "/compressed"), ""),
        (("/compressedDepth", "/compressed"), "/compressedDepth"),
        (("/compressed",), "/compressed"),
    ],
)
def test_best_of_the_transports_of_depth(tmp_path, topics, taken):
    messages = {"/cam/image": image()}
    for topic in topics:
        messages[f"/depth{topic}"] = compressed("16UC1; compressed") if topic else depth()
    assert find(tmp_path, messages).depth == f"/depth{taken}"


def test_transport_of_depth_by_name(tmp_path):
    messages = {
        "/cam/image": image(),
        "/depth": depth(),
        "/depth/compressedDepth": compressed("16UC1; compressedDepth png"),
    }
    found = find(tmp_path, messages, depth="/depth/compressedDepth")
    assert found.depth == "/depth/compressedDepth"


def elsewhere(*topics):
    """Evidence that some depth images are of another camera."""
    return lambda _image, _info, name, _beside: "it is elsewhere" * (name in topics)


def test_unaligned_depth_is_no_truth(tmp_path):
    found = find(
        tmp_path, {"/cam/image": image(), "/depth": depth()}, unaligned=elsewhere("/depth")
    )
    assert found.depth is None
    assert found.no_truth == (
        "/depth is not aligned to /cam/image: it is elsewhere: record depth that the driver has "
        "aligned to the images"
    )


def test_aligned_depth_is_taken_of_two(tmp_path):
    messages = {"/cam/image": image(), "/aligned": depth(), "/depth": depth()}
    assert find(tmp_path, messages, unaligned=elsewhere("/depth")).depth == "/aligned"


def test_scans_are_taken_where_depth_is_unaligned(tmp_path):
    messages = {"/cam/image": image(), "/depth": depth(), "/velo": cloud()}
    found = find(tmp_path, messages, unaligned=elsewhere("/depth"))
    assert (found.depth, found.cloud) == (None, "/velo")


@pytest.mark.parametrize("options", [{"truth": "depth"}, {"depth": "/depth"}])
def test_unaligned_depth_that_is_asked_for_is_refused(tmp_path, options):
    with pytest.raises(ReplayError, match="/depth is not aligned to /cam/image: it is elsewhere"):
        find(
            tmp_path,
            {"/cam/image": image(), "/depth": depth()},
            unaligned=elsewhere("/depth"),
            **options,
        )


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("livox_ros_driver2/msg/CustomMsg", "Livox's own message: set its driver's xfer_format"),
        ("velodyne_msgs/msg/VelodyneScan", "raw packets"),
        ("ouster_sensor_msgs/msg/PacketMsg", "raw packets"),
        ("sensor_msgs/msg/LaserScan", "one plane"),
        ("stereo_msgs/msg/DisparityImage", "disparity"),
    ],
)
def test_truth_that_is_not_read_is_named(tmp_path, kind, text):
    with RawWriter(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        for topic, name in (("/cam/image", "sensor_msgs/msg/Image"), ("/other", kind)):
            known = name in TYPESTORE.fielddefs
            own = {} if known else {"msgdef": "uint32 a\n", "rihs01": "RIHS01_" + "0" * 64}
            connection = writer.add_connection(topic, name, typestore=TYPESTORE, **own)
            data = TYPESTORE.serialize_cdr(image(), name) if topic != "/other" else b"\0\1\0\0"
            writer.write(connection, 1, bytes(data))
    with BagReader(tmp_path / "bag") as reader:
        found = find_topics(reader)
        assert text in found.no_truth
        assert f"/other ({kind}) is not read" in found.no_truth
        with pytest.raises(ReplayError, match=text):
            find_topics(reader, truth="lidar")


def test_video_is_named(tmp_path):
    with RawWriter(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection(
            "/cam/image/ffmpeg",
            "ffmpeg_image_transport_msgs/msg/FFMPEGPacket",
            msgdef="uint32 a\n",
            rihs01="RIHS01_" + "0" * 64,
        )
        writer.write(connection, 1, b"\0\1\0\0")
    with (
        BagReader(tmp_path / "bag") as reader,
        pytest.raises(ReplayError, match=r"has no images; .* is not read, it is video"),
    ):
        find_topics(reader)


def node_cloud(frame_id="eye"):
    """Laid out as the node does."""
    types = TYPESTORE.types
    fields = [
        types["sensor_msgs/msg/PointField"](name, 4 * index, 7, 1)
        for index, name in enumerate(("x", "y", "z", "rgb"))
    ]
    return types["sensor_msgs/msg/PointCloud2"](
        header(stamp=1, frame_id=frame_id), 2, 4, fields, False, 16, 64, np.zeros(128, np.uint8),
        False,
    )  # fmt: skip


LEFT = {
    "/depth/image_rect": depth(),
    "/depth/camera_info": info(),
    "/depth/uncertainty": depth(),
    "/depth/color": image(),
    "/points": node_cloud(),
}


CAMERA_ALONE = {"/cam/image": image(), "/cam/camera_info": info()}


@pytest.mark.parametrize("prefix", ["", "/robot", "/cam"])
@pytest.mark.parametrize("truth", [{}, {"/velo": cloud()}, {"/cam/aligned": depth()}])
def test_recorded_predictions_are_no_truth(tmp_path, prefix, truth):
    left = {prefix + name: message for name, message in LEFT.items()}
    found = find(tmp_path, CAMERA_ALONE | left | truth)
    assert (found.image, found.camera_info) == ("/cam/image", "/cam/camera_info")
    assert {name for name in (found.depth, found.cloud) if name} == set(truth)
    assert ("a depth node's" in found.no_truth) == (not truth)
    (note,) = found.notes
    assert note.startswith("Ignored, as a depth node publishes them: ")
    assert all(name in note for name in left)


def test_cloud_of_a_node_alone_is_no_truth(tmp_path):
    found = find(tmp_path, CAMERA_ALONE | {"/points": node_cloud()})
    assert found.cloud is None
    assert "/points" in found.notes[0]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/points", node_cloud("laser")),
        ("/points", cloud()),
        ("/camera/depth/points_xyzrgb", node_cloud()),
    ],
    ids=["another frame", "a scanner's layout", "another name"],
)
def test_clouds_of_sensors_are_truth(tmp_path, name, message):
    found = find(tmp_path, CAMERA_ALONE | {name: message})
    assert (found.cloud, found.notes) == (name, ())
    assert found.truth == f"{name} (LiDAR)"


@pytest.mark.parametrize(
    "name",
    [
        "/camera/depth/image_rect_raw",
        "/camera/aligned_depth_to_color/image_raw",
        "/camera/depth_registered/image_rect",
        "/zed/depth/depth_registered",
    ],
)
def test_depth_of_cameras_is_truth(tmp_path, name):
    found = find(tmp_path, CAMERA_ALONE | {name: depth()})
    assert (found.depth, found.notes) == (name, ())
    assert found.truth == f"{name} (depth images)"


@pytest.mark.parametrize(
    ("options", "taken"),
    [
        ({"truth": "depth"}, "/depth/image_rect"),
        ({"depth": "/depth/image_rect"}, "/depth/image_rect"),
        ({"truth": "lidar"}, "/points"),
        ({"cloud": "/points"}, "/points"),
    ],
    ids=str,
)
def test_recorded_predictions_are_used_on_request(tmp_path, options, taken):
    found = find(tmp_path, CAMERA_ALONE | LEFT, **options)
    assert taken in (found.depth, found.cloud)
    assert any(f"{taken} is named like a depth node's" in note for note in found.notes)


def test_requested_truth_is_the_measured_one(tmp_path):
    messages = CAMERA_ALONE | LEFT | {"/aligned": depth(), "/velo": cloud()}
    assert find(tmp_path, messages, truth="depth").depth == "/aligned"
    with BagReader(tmp_path / "bag") as reader:
        assert find_topics(reader, truth="lidar").cloud == "/velo"
