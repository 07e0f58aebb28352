"""Findings of `depthformer doctor` about depth nodes, and its commands."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from depthformer_core.bags.message_types import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE
from depthformer_ros.doctor.graph import examine_graph
from depthformer_ros.doctor.graph_facts import Endpoint, Graph, GraphTopic, Status

from .graphs import (
    DRIVER,
    GRAPH,
    IMAGES,
    JPEG,
    NAME,
    OUTPUT,
    PROBLEM,
    RUNNING,
    WARNING,
    Expected,
    camera,
    facts,
    in_state,
    info,
    missing,
    output,
    with_status,
)

NODE_FINDINGS = [
    pytest.param({}, {}, id="all well"),
    pytest.param(
        {"nodes": (), "depth_nodes": ()},
        {"nodes": (PROBLEM, "none in domain 0, discovery SUBNET", "--net=host --ipc=host")},
        id="nothing at all",
    ),
    pytest.param(
        {"nodes": (), "depth_nodes": (), "discovery": "LOCALHOST"},
        {"nodes": (PROBLEM, "discovery LOCALHOST", "ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET")},
        id="nothing on this machine",
    ),
    pytest.param(
        {"nodes": (), "depth_nodes": (), "elsewhere": {5: ("/camera/driver",)}},
        {"nodes": (PROBLEM, "/camera/driver in domain 5", "export ROS_DOMAIN_ID=5")},
        id="another domain",
    ),
    pytest.param(
        {"nodes": (DRIVER,), "depth_nodes": ()},
        {
            "depth node": (
                PROBLEM,
                "none",
                "start it: ros2 launch depthformer_ros depth_camera.launch.py "
                "image_topic:=/camera/image_raw  (without launch: ros2 run depthformer_ros "
                "depth_node --ros-args -r image:=/camera/image_raw "
                "-r camera_info:=/camera/camera_info)",
            )
        },
        id="no depth node",
    ),
    pytest.param(
        {"nodes": (DRIVER,), "depth_nodes": (), "topics": ()},
        {
            "depth node": (
                PROBLEM,
                "none",
                "Then: ros2 launch depthformer_ros depth_camera.launch.py image_topic:=TOPIC",
            )
        },
        id="no depth node and no camera",
    ),
    pytest.param(
        {"nodes": (NAME, NAME)},
        {
            "nodes": (
                WARNING,
                "2 in domain 0, discovery SUBNET, rmw_fastrtps_cpp: /depthformer",
                "several nodes have the same name: /depthformer.",
            )
        },
        id="two of one name",
    ),
    pytest.param(
        in_state(""),
        {f"{NAME} state": (PROBLEM, "does not respond", "loads its network")},
        id="busy",
    ),
    pytest.param(
        in_state("unconfigured"),
        {f"{NAME} state": (PROBLEM, "unconfigured", f"ros2 lifecycle set {NAME} configure")},
        id="unconfigured",
    ),
    pytest.param(
        in_state("unconfigured", Status("ERROR", "configure failed: no checkpoint at x")),
        {f"{NAME} state": (PROBLEM, "no checkpoint at x", f"ros2 param set {NAME} checkpoint")},
        id="bad checkpoint",
    ),
    pytest.param(
        in_state("inactive"),
        {f"{NAME} state": (PROBLEM, "inactive", f"ros2 lifecycle set {NAME} activate")},
        id="inactive",
    ),
    pytest.param(
        in_state("finalized"), {f"{NAME} state": (PROBLEM, "finalized", "restart")}, id="finalized"
    ),
    pytest.param(
        in_state("activating"),
        {f"{NAME} state": (PROBLEM, "activating", "wait, and run this again")},
        id="activating",
    ),
    pytest.param(
        in_state("active"),
        {f"{NAME} diagnostics": (WARNING, "no message on /diagnostics in 2.5 s", "period")},
        id="no diagnostics",
    ),
    pytest.param(
        with_status("OK", "paused", mode="paused"),
        {f"{NAME} diagnostics": (PROBLEM, "paused", f"{NAME}/set_enabled")},
        id="paused",
    ),
    pytest.param(
        with_status("ERROR", "input rejected: step is 3"),
        {f"{NAME} diagnostics": (PROBLEM, "step is 3", "driver")},
        id="rejected",
    ),
    pytest.param(
        with_status("ERROR", "input rejected: input.mask is 96x64, images are 64x64"),
        {f"{NAME} diagnostics": (PROBLEM, "input.mask is 96x64", "PNG file of the size")},
        id="mask",
    ),
    pytest.param(
        with_status("ERROR", "last frame failed: out of memory"),
        {f"{NAME} diagnostics": (PROBLEM, "out of memory", "smaller checkpoint")},
        id="out of memory",
    ),
    pytest.param(
        with_status("ERROR", "the network returned 3 values that are not finite"),
        {f"{NAME} diagnostics": (PROBLEM, "3 values", "precision:=float32")},
        id="not finite",
    ),
    pytest.param(
        with_status("ERROR", "last frame failed: KeyError: 3"),
        {f"{NAME} diagnostics": (PROBLEM, "KeyError", "log")},
        id="another error",
    ),
    pytest.param(
        with_status("STALE", "input stale"),
        {f"{NAME} diagnostics": (WARNING, "input stale", "")},
        id="stale, as of older nodes",
    ),
    pytest.param(
        with_status("ERROR", "input stale"),
        {f"{NAME} diagnostics": (PROBLEM, "input stale", "camera's driver still runs")},
        id="stale",
    ),
    pytest.param(
        with_status("OK", "input running", **{"output rate (Hz)": "0.00"}),
        {f"{NAME} diagnostics": (WARNING, "0.0 predicted", "smaller checkpoint")},
        id="no predictions",
    ),
]

COMMAND_FINDINGS = [
    pytest.param(
        facts(missing("/c/image/compressed/compressed", COMPRESSED_IMAGE), JPEG, OUTPUT),
        {
            f"{NAME} images": (
                PROBLEM,
                "but /c/image/compressed is published",
                "added to a name that has it already\nend the node and restart it: ros2 launch "
                "depthformer_ros depth_camera.launch.py image_topic:=/c/image "
                "image_transport:=compressed  (",
            )
        },
        id="compressed twice",
    ),
    pytest.param(
        facts(
            missing("/image", IMAGE),
            camera("/kitti/camera_color_left/image_raw", taken=False),
            OUTPUT,
        ),
        {
            f"{NAME} images": (
                PROBLEM,
                "there are images on /kitti/camera_color_left/image_raw",
                "kitti_camera.launch.py image_topic:=/kitti/camera_color_left/image_raw  (",
            )
        },
        id="KITTI's camera",
    ),
    pytest.param(
        {
            "depth_nodes": (dataclasses.replace(RUNNING, name="/robot/eyes"),),
            "topics": (
                GraphTopic("/robot/image", (), (Endpoint("/robot/eyes", IMAGE),)),
                camera("/robot/camera/image", taken=False),
                output(Endpoint("/rviz", IMAGE)),
            ),
        },
        {
            "/robot/eyes images": (
                PROBLEM,
                "there are images on /robot/camera/image",
                "depth_camera.launch.py namespace:=robot image_topic:=/robot/camera/image  "
                "(without launch: ros2 run depthformer_ros depth_node --ros-args -r __ns:=/robot "
                "-r __node:=eyes -r image:=/robot/camera/image)",
            ),
            "/robot/eyes outputs": (WARNING, "nobody subscribes to", ""),
        },
        id="a node in a namespace",
    ),
    pytest.param(
        facts(
            camera("/c/left_image"),
            missing("/camera_info", CAMERA_INFO),
            info("/c/left_info", taken=False),
            OUTPUT,
            streams=(dataclasses.replace(IMAGES, topic="/c/left_image"),),
        ),
        {
            f"{NAME} camera_info": (
                WARNING,
                "there is camera_info on /c/left_info",
                "image_topic:=/c/left_image camera_info_topic:=/c/left_info  (",
            )
        },
        id="calibration of an odd name",
    ),
    pytest.param(
        facts(
            missing("/image", IMAGE),
            missing("/camera_info", CAMERA_INFO),
            camera(taken=False),
            info(taken=False),
            OUTPUT,
        ),
        {
            f"{NAME} images": (PROBLEM, "there are images on /camera/image_raw", "image_topic:="),
            f"{NAME} camera_info": (
                WARNING,
                "there is camera_info on /camera/camera_info",
                "start the node on the right images",
            ),
        },
        id="images and calibration of another name",
    ),
    pytest.param(
        facts(
            missing("/image", IMAGE),
            camera("/c/jpeg", COMPRESSED_IMAGE, taken=False),
            OUTPUT,
        ),
        {
            f"{NAME} images": (
                PROBLEM,
                "/c/jpeg (CompressedImage)",
                "restart it: ros2 run depthformer_ros depth_node --ros-args "
                "-p image_transport:=compressed -r image/compressed:=/c/jpeg",
            )
        },
        id="compressed images that launch cannot name",
    ),
]


@pytest.mark.parametrize(("changes", "expected"), [*NODE_FINDINGS, *COMMAND_FINDINGS])
def test_graph(
    check_findings: Callable[..., None], changes: dict[str, Any], expected: dict[str, Expected]
) -> None:
    graph = dataclasses.replace(GRAPH, **changes)
    check_findings(examine_graph(graph), expected)
    assert Graph.from_json(graph.to_json()) == graph


def test_no_launch_argument_ends_in_compressed() -> None:
    topics = (
        missing("/image", IMAGE),
        camera("/c/compressed/compressed", COMPRESSED_IMAGE),
        OUTPUT,
    )
    for finding in examine_graph(dataclasses.replace(GRAPH, topics=topics)):
        assert "image_topic:=/c/compressed" not in finding.advice
