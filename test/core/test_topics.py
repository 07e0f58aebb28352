import re

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as RawWriter

from depthformer_core.bags import TYPESTORE, BagReader, BagWriter
from depthformer_core.bags.messages import (
    camera_info_message,
    depth_message,
    header,
    image_message,
    scan_message,
)
from depthformer_core.bags.topics import ReplayError, Topics, find_image_topic, find_topics
from depthformer_core.geometry.camera import Camera

CAMERA = Camera(4, 2, 3.0, 3.0, 2.0, 1.0)


def image():
    return image_message(np.zeros((2, 4, 3), np.uint8), stamp=1, frame_id="eye")


def compressed(text="jpeg"):
    return TYPESTORE.types["sensor_msgs/msg/CompressedImage"](
        header(stamp=1, frame_id="eye"), text, np.zeros(8, np.uint8)
    )


def depth(encoding="32FC1"):
    message = depth_message(np.zeros((2, 4), np.float32), stamp=1, frame_id="eye")
    message.encoding = encoding
    return message


def info():
    return camera_info_message(CAMERA, stamp=1, frame_id="eye")


def cloud():
    return scan_message(np.zeros((5, 4), np.float32), stamp=1, frame_id="laser")


def number():
    return TYPESTORE.types["std_msgs/msg/UInt8"](data=1)


def find(tmp_path, messages, **options):
    """Topics of a bag with these messages; a list stands for as many."""
    with BagWriter(tmp_path / "bag") as writer:
        for topic, item in messages.items():
            for message in item if isinstance(item, list) else [item]:
                writer.write(topic, message, stamp=1)
    with BagReader(tmp_path / "bag") as reader:
        return find_topics(reader, **options)


def test_all_of_a_camera_and_a_lidar(tmp_path):
    messages = {
        "/cam/image_raw": image(),
        "/cam/image_raw/compressed": compressed(),
        "/cam/camera_info": info(),
        "/velo": cloud(),
        "/speed": number(),
    }
    assert find(tmp_path, messages) == Topics("/cam/image_raw", "/cam/camera_info", None, "/velo")


@pytest.mark.parametrize("encoding", ["32FC1", "16UC1"])
def test_depth_images_are_told_by_their_encoding(tmp_path, encoding):
    messages = {"/a/image": image(), "/a/depth": depth(encoding), "/velo": cloud()}
    assert find(tmp_path, messages) == Topics("/a/image", None, "/a/depth", None)


def test_two_cameras_are_listed(tmp_path):
    messages = {
        "/left/image": [image()] * 3,
        "/left/image/compressed": [compressed()] * 3,
        "/right/image/compressed": [compressed()] * 2,
    }
    listing = (
        r"several topics of images, choose with --image-topic: "
        r"/left/image \(3 Image\), /right/image/compressed \(2 CompressedImage\)$"
    )
    with pytest.raises(ReplayError, match=listing):
        find(tmp_path, messages)


TWO = {
    "/left/image": image(),
    "/left/image/compressed": compressed(),
    "/left/camera_info": info(),
    "/right/image": image(),
    "/right/camera_info": info(),
    "/depth/image": depth(),
    "/depth/camera_info": info(),
    "/front": cloud(),
    "/rear": cloud(),
    "/speed": number(),
}


@pytest.mark.parametrize(
    ("options", "topics"),
    [
        pytest.param(
            {"image": "/right/image"},
            Topics("/right/image", "/right/camera_info", "/depth/image", None),
            id="image",
        ),
        pytest.param(
            {"image": "/left/image/compressed"},
            Topics("/left/image/compressed", "/left/camera_info", "/depth/image", None),
            id="compressed",
        ),
        pytest.param(
            {"image": "/left/image", "camera_info": "/right/camera_info"},
            Topics("/left/image", "/right/camera_info", "/depth/image", None),
            id="camera_info",
        ),
        pytest.param(
            {"image": "/left/image", "cloud": "/rear"},
            Topics("/left/image", "/left/camera_info", None, "/rear"),
            id="cloud",
        ),
        pytest.param(
            {"image": "/left/image", "cloud": "/rear", "truth": "lidar"},
            Topics("/left/image", "/left/camera_info", None, "/rear"),
            id="lidar",
        ),
        pytest.param(
            {"image": "/left/image", "truth": "depth"},
            Topics("/left/image", "/left/camera_info", "/depth/image", None),
            id="depth",
        ),
        pytest.param(
            {"image": "/left/image", "truth": "none"},
            Topics("/left/image", "/left/camera_info", None, None, "none is requested"),
            id="none",
        ),
    ],
)
def test_choice(tmp_path, options, topics):
    assert find(tmp_path, TWO, **options) == topics


@pytest.mark.parametrize(
    ("options", "text"),
    [
        pytest.param(
            {"image": "/up/image"},
            r"--image-topic /up/image is not in bag {bag}; its images: /left/image \(1 Image\), ",
            id="missing",
        ),
        pytest.param(
            {"image": "/speed"},
            r"--image-topic: /speed \(1 std_.*\) is none of the images of bag {bag}: /left",
            id="type",
        ),
        pytest.param(
            {"image": "/depth/image"}, r"/depth/image \(1 Image\) is none of", id="depth as image"
        ),
        pytest.param(
            {"image": "/left/image", "camera_info": "/speed"},
            r"--camera-info-topic: /speed .* none of the camera_info of bag {bag}: /depth/cam",
            id="camera_info",
        ),
        pytest.param(
            {"image": "/left/image", "depth": "/left/image"},
            r"--depth-topic: /left/image .* depth images of bag {bag}: /depth/image \(1 Image\)",
            id="depth",
        ),
        pytest.param(
            {"image": "/left/image", "cloud": "/velo"},
            r"--cloud-topic /velo is not in bag {bag}; its point clouds: /front",
            id="cloud",
        ),
        pytest.param(
            {"image": "/left/image", "truth": "lidar"},
            r"bag {bag} has several topics of point clouds, choose with --cloud-topic: "
            r"/front \(1 Point",
            id="two clouds",
        ),
        pytest.param(
            {"image": "/left/image", "depth": "/depth/image", "cloud": "/front"},
            "one truth at a time",
            id="two truths",
        ),
        pytest.param(
            {"image": "/left/image", "depth": "/depth/image", "truth": "lidar"},
            "--depth-topic /depth/image contradicts --truth lidar",
            id="depth contradicts",
        ),
        pytest.param(
            {"image": "/left/image", "cloud": "/front", "truth": "none"},
            "--cloud-topic /front contradicts --truth none",
            id="cloud contradicts",
        ),
        pytest.param({"truth": "stereo"}, "'stereo'", id="truth"),
        pytest.param(
            {}, r"bag {bag} has several topics of images, choose with --image-topic", id="two"
        ),
    ],
)
def test_wrong_choices_are_named(tmp_path, options, text):
    text = text.replace("{bag}", f"{re.escape(str(tmp_path))}[^ ;:]*")
    with pytest.raises(ReplayError, match=text):
        find(tmp_path, TWO, **options)


@pytest.mark.parametrize(
    ("messages", "found"),
    [
        pytest.param({"/calibration": info()}, "/calibration", id="the only one"),
        pytest.param(
            {"/other/image": image(), "/other/camera_info": info()}, None, id="of another camera"
        ),
        pytest.param(
            {"/other/depth": depth(), "/other/camera_info": info()}, None, id="of depth images"
        ),
        pytest.param({}, None, id="none"),
    ],
)
def test_camera_info_elsewhere(tmp_path, messages, found):
    topics = find(tmp_path, {"/cam/image": image(), **messages}, image="/cam/image")
    assert topics.camera_info == found


def test_two_calibrations_elsewhere_are_listed(tmp_path):
    messages = {"/cam/image": image(), "/a": info(), "/b": info()}
    with pytest.raises(ReplayError, match=r"choose with --camera-info-topic: /a .*, /b "):
        find(tmp_path, messages)


@pytest.mark.parametrize(
    ("truth", "text"),
    [
        ("depth", r"no depth images, which --truth depth requires; it has /image \(1 Image\)"),
        ("lidar", "no point clouds, which --truth lidar requires"),
    ],
)
def test_missing_truth_is_named(tmp_path, truth, text):
    with pytest.raises(ReplayError, match=text):
        find(tmp_path, {"/image": image()}, truth=truth)


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ({"/speed": number()}, r"no images; it has /speed \(1 std_msgs/msg/UInt8\)"),
        ({"/depth": depth()}, r"no images; it has /depth"),
        ({}, "no images; it has none"),
    ],
    ids=["other types", "depth alone", "empty bag"],
)
def test_bag_without_images_is_named(tmp_path, messages, text):
    with pytest.raises(ReplayError, match=text):
        find(tmp_path, messages)


def test_damaged_first_image_is_still_an_image(tmp_path):
    with BagWriter(tmp_path / "bag") as writer:
        writer.write_cdr("/image", "sensor_msgs/msg/Image", b"\x00\x01\x00\x00abc", stamp=1)
    with BagReader(tmp_path / "bag") as reader:
        assert find_topics(reader).image == "/image"


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


def test_previews_alone_are_no_images(tmp_path):
    with pytest.raises(ReplayError, match=r"no images; .*are selected by --image-topic"):
        find(tmp_path, {"/depth/color": image()})
    with BagReader(tmp_path / "bag") as reader:
        assert find_topics(reader, image="/depth/color").image == "/depth/color"


def test_missing_truth_as_text():
    topics = Topics("/image", None, None, None, "the bag has none")
    assert topics.truth == "none, since the bag has none"


@pytest.mark.parametrize(
    ("wanted", "present", "meant"),
    [
        ("/cam/image", ["/cam/image", "/cam/image/compressed"], "/cam/image"),
        ("/cam/image", ["/cam/image/compressed"], "/cam/image/compressed"),
        ("/cam/image/compressed/compressed", ["/cam/image/compressed"], "/cam/image/compressed"),
        ("/cam/image/compressed", ["/cam/image"], "/cam/image/compressed"),
        ("cam/image/", ["/cam/image"], "/cam/image"),
        ("/other", ["/cam/image"], "/other"),
        ("", ["/cam/image"], ""),
    ],
)
def test_names_of_images(wanted, present, meant):
    assert find_image_topic(wanted, present) == meant


@pytest.mark.parametrize("wanted", ["/cam/image", "/cam/image/compressed/compressed"])
def test_images_by_the_name_without_their_transport(tmp_path, wanted):
    found = find(
        tmp_path,
        {"/cam/image/compressed": compressed(), "/other/image": image()},
        image=wanted,
    )
    assert found.image == "/cam/image/compressed"
    assert found.notes == (
        f"The bag has no {wanted}: its images are read from /cam/image/compressed.",
    )
