"""Findings of `depthformer doctor` about topics."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from depthformer_core.bags.message_types import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE, POINT_CLOUD
from depthformer_ros.doctor.graph import examine_graph
from depthformer_ros.doctor.graph_facts import Endpoint, Graph, GraphTopic, Mismatch

from .graphs import (
    DRIVER,
    GRAPH,
    IMAGES,
    INFOS,
    JPEG,
    ME,
    NAME,
    OUTPUT,
    PROBLEM,
    WARNING,
    Expected,
    camera,
    facts,
    info,
    missing,
    output,
    with_status,
)

TOPIC_FINDINGS = [
    pytest.param(
        facts(info(), OUTPUT),
        {f"{NAME} images": (PROBLEM, "subscribes to no images yet", "again")},
        id="not discovered",
    ),
    pytest.param(
        facts(missing("/image", IMAGE), OUTPUT),
        {
            f"{NAME} images": (
                PROBLEM,
                "nobody publishes /image, and no other topic has images of a camera",
                "which topic it publishes. If that is not /image: ros2 launch depthformer_ros "
                "depth_camera.launch.py image_topic:=TOPIC",
            )
        },
        id="no camera",
    ),
    pytest.param(
        facts(
            missing("/image", IMAGE),
            camera("/camera/depth/image_raw", taken=False),
            camera("/camera/color/image_raw", taken=False),
            OUTPUT,
        ),
        {
            f"{NAME} images": (
                PROBLEM,
                "there are images on /camera/color/image_raw (Image), /camera/depth/image_raw "
                "(Image)",
                "ros2 launch depthformer_ros depth_camera.launch.py "
                "image_topic:=/camera/color/image_raw  (without launch: ros2 run depthformer_ros "
                "depth_node --ros-args -r image:=/camera/color/image_raw)",
            )
        },
        id="another name",
    ),
    pytest.param(
        facts(
            missing("/front/image_raw", IMAGE),
            camera("/rear/image_raw", taken=False),
            camera("/front/image_rect", taken=False),
            OUTPUT,
        ),
        {f"{NAME} images": (PROBLEM, "on /front/image_rect", "-r image:=/front/image_rect")},
        id="a similar name",
    ),
    pytest.param(
        facts(
            missing("/c/image", IMAGE),
            camera("/c/image/compressed", COMPRESSED_IMAGE, taken=False),
            info("/c/camera_info", taken=False),
            OUTPUT,
        ),
        {
            f"{NAME} images": (
                PROBLEM,
                "but /c/image/compressed is published",
                "depth_camera.launch.py image_topic:=/c/image image_transport:=compressed  "
                "(without launch: ros2 run depthformer_ros depth_node --ros-args -p "
                "image_transport:=compressed -r image/compressed:=/c/image/compressed "
                "-r camera_info:=/c/camera_info)",
            )
        },
        id="compressed",
    ),
    pytest.param(
        facts(
            missing("/c/image/compressed", COMPRESSED_IMAGE),
            camera("/c/image", taken=False),
            OUTPUT,
        ),
        {
            f"{NAME} images": (
                PROBLEM,
                "but /c/image is published",
                "-p image_transport:=raw -r image:=/c/image",
            )
        },
        id="raw",
    ),
    pytest.param(
        facts(GraphTopic("/i", (Endpoint(DRIVER, COMPRESSED_IMAGE),), (ME,)), OUTPUT),
        {
            f"{NAME} images": (
                PROBLEM,
                f"{DRIVER} publishes /i as {COMPRESSED_IMAGE}, the node takes {IMAGE}",
                "-p image_transport:=compressed -r image/compressed:=/i",
            )
        },
        id="another type of image",
    ),
    pytest.param(
        facts(GraphTopic("/i", (Endpoint("/odd", "std_msgs/msg/String"),), (ME,)), OUTPUT),
        {f"{NAME} images": (PROBLEM, "as std_msgs/msg/String", "camera's driver")},
        id="no image at all",
    ),
    pytest.param(
        facts(
            dataclasses.replace(camera(), mismatches=(Mismatch(DRIVER, NAME, "Deadline differs"),)),
            info(),
            OUTPUT,
            streams=(IMAGES, INFOS),
        ),
        {f"{NAME} images": (PROBLEM, "cannot receive it: Deadline differs", "qos_overrides")},
        id="publisher never meets the node",
    ),
    pytest.param(
        facts(
            GraphTopic(
                "/camera/image_raw", (Endpoint(DRIVER, IMAGE), Endpoint("/bag", IMAGE)), (ME,)
            ),
            info(),
            OUTPUT,
            streams=(IMAGES, INFOS),
        ),
        {f"{NAME} images": (WARNING, "/camera/driver, /bag publish", "end all but one")},
        id="two cameras",
    ),
    pytest.param(
        facts(camera(), info(), OUTPUT, streams=(INFOS,)),
        {f"{NAME} images": (WARNING, "the node reports 10.0 a second", "lost in transit")},
        id="images do not get here",
    ),
    pytest.param(
        {
            **with_status("STALE", "input stale", **{"input rate (Hz)": "0.00"}),
            **facts(camera(), info(), OUTPUT, streams=(INFOS,)),
        },
        {
            f"{NAME} images": (PROBLEM, "no image came in 2.5 s", "--ipc=host"),
            f"{NAME} diagnostics": (WARNING, "input stale", ""),
        },
        id="a camera that sends nothing",
    ),
    pytest.param(
        {"streams": (dataclasses.replace(IMAGES, problem="encoding 'plaid'"), INFOS)},
        {f"{NAME} images": (PROBLEM, "cannot be used: encoding 'plaid'", "driver")},
        id="images that cannot be used",
    ),
    pytest.param(
        facts(camera(), missing("/camera_info", CAMERA_INFO), OUTPUT, streams=(IMAGES,)),
        {
            f"{NAME} camera_info": (
                WARNING,
                "there is no other camera_info",
                "on /camera/camera_info",
            )
        },
        id="no calibration",
    ),
    pytest.param(
        facts(
            camera(),
            missing("/camera_info", CAMERA_INFO),
            info("/rear/camera_info", taken=False),
            info(taken=False),
            OUTPUT,
            streams=(IMAGES,),
        ),
        {
            f"{NAME} camera_info": (
                WARNING,
                "there is camera_info on /camera/camera_info, /rear/camera_info",
                "-r camera_info:=/camera/camera_info",
            )
        },
        id="calibration of another name",
    ),
    pytest.param(
        facts(
            camera(),
            info("/rear/camera_info"),
            info(taken=False),
            OUTPUT,
            streams=(IMAGES, dataclasses.replace(INFOS, topic="/rear/camera_info")),
        ),
        {
            f"{NAME} camera_info": (
                WARNING,
                "though /camera/camera_info is beside the images",
                "-r camera_info:=/camera/camera_info",
            )
        },
        id="calibration of another camera",
    ),
    pytest.param(
        {"streams": (IMAGES, dataclasses.replace(INFOS, size=None, problem="K is zero"))},
        {f"{NAME} camera_info": (WARNING, "cannot be used: K is zero", "calibrate")},
        id="calibration of zeros",
    ),
    pytest.param(
        {"streams": (IMAGES, dataclasses.replace(INFOS, size=(1280, 960)))},
        {f"{NAME} camera_info": (WARNING, "for 1280x960, images are 640x480", "no cloud")},
        id="calibration of another size",
    ),
    pytest.param(
        {
            **with_status("WARN", "no camera_info yet", calibration="no camera_info yet: no cloud"),
            "streams": (IMAGES,),
        },
        {
            f"{NAME} camera_info": (WARNING, "in 2.5 s", "with every image"),
            f"{NAME} diagnostics": (WARNING, "no camera_info yet", ""),
        },
        id="calibration published once",
    ),
    pytest.param({"streams": (IMAGES,)}, {}, id="calibration known"),
    pytest.param(
        facts(camera(), info(), output(), streams=(IMAGES, INFOS)),
        {
            f"{NAME} outputs": (
                WARNING,
                "nobody subscribes to /depth/image_rect",
                "ros2 topic hz /depth/image_rect",
            )
        },
        id="nobody subscribes",
    ),
    pytest.param(
        facts(
            camera(),
            info(),
            output(Endpoint("/late", IMAGE), mismatches=(Mismatch(NAME, "/late", "durability"),)),
            streams=(IMAGES, INFOS),
        ),
        {f"{NAME} outputs": (PROBLEM, "/late subscribes to /depth/image_rect", "volatile")},
        id="a subscriber that never meets it",
    ),
    pytest.param(
        facts(camera(), info(), output(Endpoint("/odd", POINT_CLOUD)), streams=(IMAGES, INFOS)),
        {
            f"{NAME} outputs": (
                PROBLEM,
                f"/odd subscribes to /depth/image_rect as {POINT_CLOUD}",
                "",
            )
        },
        id="a subscriber of another type",
    ),
]


@pytest.mark.parametrize(("changes", "expected"), TOPIC_FINDINGS)
def test_graph(
    check_findings: Callable[..., None], changes: dict[str, Any], expected: dict[str, Expected]
) -> None:
    graph = dataclasses.replace(GRAPH, **changes)
    check_findings(examine_graph(graph), expected)
    assert Graph.from_json(graph.to_json()) == graph


@pytest.mark.parametrize(
    ("wanted", "changes", "expected"),
    [
        pytest.param("/camera/image_raw", {}, {}, id="subscribed to"),
        pytest.param(
            "/camera/image",
            {},
            {
                "camera": (
                    PROBLEM,
                    "nobody publishes /camera/image; there are images on /camera/image_raw (Image)",
                    "start the camera's driver, or take /camera/image_raw: ros2 launch",
                )
            },
            id="not there",
        ),
        pytest.param(
            "/rear/image_raw",
            facts(
                *GRAPH.topics,
                camera("/rear/image_raw", taken=False),
                streams=(IMAGES, INFOS, dataclasses.replace(IMAGES, topic="/rear/image_raw")),
            ),
            {
                "camera": (
                    PROBLEM,
                    f"no active depth node subscribes to /rear/image_raw; there are: {NAME}",
                    "depth_camera.launch.py image_topic:=/rear/image_raw",
                )
            },
            id="not subscribed to",
        ),
        pytest.param(
            "/c/image",
            facts(*GRAPH.topics, JPEG, streams=(IMAGES, INFOS)),
            {
                "camera": (
                    PROBLEM,
                    "nobody publishes /c/image, but /c/image/compressed is published",
                    "depth_camera.launch.py image_topic:=/c/image image_transport:=compressed",
                )
            },
            id="compressed only",
        ),
        pytest.param(
            "/c/image",
            facts(*GRAPH.topics[1:], missing("/camera/image_raw", IMAGE), streams=(INFOS,)),
            {
                f"{NAME} images": (PROBLEM, "no other topic has images", "TOPIC"),
                "camera": (PROBLEM, "no other topic has images", "start the camera's driver"),
            },
            id="no camera at all",
        ),
    ],
)
def test_wanted(
    check_findings: Callable[..., None],
    wanted: str,
    changes: dict[str, Any],
    expected: dict[str, Expected],
) -> None:
    check_findings(examine_graph(dataclasses.replace(GRAPH, **changes), wanted=[wanted]), expected)
