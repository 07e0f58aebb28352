"""Selection of the topics of a bag."""

import re

import pytest
from topic_recordings import (
    cloud,
    compressed,
    depth,
    find,
    image,
    info,
)

from depthformer_core.bags import TYPESTORE, BagReader, BagWriter
from depthformer_core.bags.errors import ReplayError
from depthformer_core.bags.topics import Topics, find_image_topic, find_topics


def number():
    return TYPESTORE.types["std_msgs/msg/UInt8"](data=1)


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
