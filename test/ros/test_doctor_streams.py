"""Findings of `depthformer doctor` about lost images and calibrations."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from depthformer_core.bags.message_types import CAMERA_INFO, COMPRESSED_IMAGE
from depthformer_ros.doctor.graph import examine_graph
from depthformer_ros.doctor.graph_facts import Endpoint, Graph, GraphTopic, Mismatch

from .graphs import (
    DRIVER,
    GRAPH,
    IMAGES,
    INFOS,
    LOST,
    NAME,
    ONCE,
    OUTPUT,
    PROBLEM,
    RUNNING,
    UNKNOWN,
    WARNING,
    Expected,
    at_rates,
    camera,
    info,
    latched,
    reliable,
    with_status,
)

LOSS_FINDINGS = [
    pytest.param(
        {"streams": at_rates(5.2)},
        {f"{NAME} images": (WARNING, LOST, "an image has 0.9 MB, and a driver with Fast DDS's")},
        id="images are lost",
    ),
    pytest.param(
        {"streams": at_rates(5.2), "topics": (reliable(camera()), info(), OUTPUT)},
        {
            f"{NAME} images": (
                WARNING,
                LOST,
                "export FASTRTPS_DEFAULT_PROFILES_FILE=$(ros2 pkg prefix",
            )
        },
        id="images of a reliable driver are lost",
    ),
    pytest.param(
        {"streams": at_rates(5.2)},
        {f"{NAME} images": (WARNING, LOST, "or let the driver publish reliable")},
        id="images of a best-effort driver are lost",
    ),
    pytest.param(
        {
            "streams": at_rates(5.2),
            "topics": (
                camera(),
                info(),
                camera("/camera/image_raw/compressed", COMPRESSED_IMAGE, taken=False),
                OUTPUT,
            ),
        },
        {
            f"{NAME} images": (
                WARNING,
                LOST,
                "take the compressed images: ros2 launch depthformer_ros depth_camera.launch.py "
                "image_topic:=/camera/image_raw image_transport:=compressed",
            )
        },
        id="images are lost beside compressed ones",
    ),
    pytest.param(
        {"streams": at_rates(5.2), "rmw": "rmw_cyclonedds_cpp"},
        {f"{NAME} images": (WARNING, LOST, "net.core.rmem_max")},
        id="images are lost with another middleware",
    ),
    pytest.param(
        {"streams": at_rates(5.2, length=90_000)},
        {
            f"{NAME} images": (
                WARNING,
                LOST,
                "ros2 topic hz /camera/image_raw` here and on the driver",
            )
        },
        id="small images are lost",
    ),
    pytest.param(
        {
            "streams": (INFOS,),
            **with_status("ERROR", "input stale", **{"input rate (Hz)": "0.00"}),
        },
        {
            f"{NAME} images": (PROBLEM, "while 10.0 camera_info a second came", "large_messages"),
            f"{NAME} diagnostics": (PROBLEM, "input stale", ""),
        },
        id="all images are lost",
    ),
    pytest.param({"streams": at_rates(26.0)}, {}, id="nearly all images come"),
    pytest.param({"streams": at_rates(30.0, 5.0)}, {}, id="camera_info comes more slowly"),
    pytest.param({"streams": (IMAGES, ONCE)}, {}, id="camera_info came once"),
    pytest.param(
        {
            "streams": at_rates(10.0),
            "topics": (
                camera(),
                GraphTopic(INFOS.topic, (Endpoint("/other", CAMERA_INFO),), info().subscribers),
                OUTPUT,
            ),
        },
        {},
        id="camera_info of another node comes faster",
    ),
    pytest.param(
        {"streams": at_rates(30.0), "topics": (reliable(camera()), info(), OUTPUT)},
        {
            f"{NAME} images": (
                WARNING,
                "30.0 images a second came here, 10.0 to the node",
                "subscribes best effort",
            )
        },
        id="a best-effort node gets fewer",
    ),
    pytest.param(
        {
            "streams": at_rates(30.0),
            "topics": (reliable(camera(), subscribers=True), info(), OUTPUT),
        },
        {},
        id="a reliable node gets fewer, which is its own affair",
    ),
]

CALIBRATION_FINDINGS = [
    pytest.param(
        {**UNKNOWN, "streams": (IMAGES, ONCE), "topics": (camera(), latched(info()), OUTPUT)},
        {
            f"{NAME} camera_info": (WARNING, "new messages only (volatile)", "no cloud"),
            f"{NAME} diagnostics": (WARNING, "no camera_info yet", ""),
        },
        id="a latched camera_info that reaches nobody",
    ),
    pytest.param(
        {"streams": (IMAGES, ONCE), "topics": (camera(), latched(info()), OUTPUT)},
        {},
        id="a latched camera_info that the node has",
    ),
    pytest.param(
        {
            "streams": (IMAGES, ONCE),
            "topics": (
                camera(),
                dataclasses.replace(info(), mismatches=(Mismatch(DRIVER, NAME, "durability"),)),
                OUTPUT,
            ),
        },
        {f"{NAME} camera_info": (PROBLEM, "cannot receive it: durability", "qos_overrides")},
        id="a camera_info whose durability does not fit",
    ),
    pytest.param(
        {"streams": (IMAGES, dataclasses.replace(INFOS, size=(0, 0)))},
        {f"{NAME} camera_info": (WARNING, "for images of 0x0, which is no size", "image_width")},
        id="calibration without a size",
    ),
    pytest.param(
        {"streams": (dataclasses.replace(IMAGES, frame_id=""), INFOS)},
        {f"{NAME} images": (WARNING, "the frame_id is empty", "set the driver's frame_id")},
        id="empty frame",
    ),
    pytest.param(
        {"streams": (dataclasses.replace(IMAGES, frame_id="/eye"), INFOS)},
        {
            f"{NAME} images": (
                WARNING,
                "frame_id /eye has a slash",
                "set the driver's frame_id to eye",
            )
        },
        id="slash before the frame",
    ),
    pytest.param(
        {
            "streams": (IMAGES, dataclasses.replace(INFOS, distorted=True)),
            "depth_nodes": (dataclasses.replace(RUNNING, rectify="never"),),
        },
        {
            f"{NAME} camera_info": (
                WARNING,
                "has distortion, and input.rectify is never",
                f"ros2 param set {NAME} input.rectify auto; or restart it with the parameters "
                "for any camera: ros2 launch depthformer_ros depth_camera.launch.py",
            )
        },
        id="never rectified",
    ),
    pytest.param(
        {
            "streams": (IMAGES, dataclasses.replace(INFOS, distorted=True)),
            "depth_nodes": (dataclasses.replace(RUNNING, rectify="auto"),),
        },
        {},
        id="rectified",
    ),
]


@pytest.mark.parametrize(("changes", "expected"), [*LOSS_FINDINGS, *CALIBRATION_FINDINGS])
def test_graph(
    check_findings: Callable[..., None], changes: dict[str, Any], expected: dict[str, Expected]
) -> None:
    graph = dataclasses.replace(GRAPH, **changes)
    check_findings(examine_graph(graph), expected)
    assert Graph.from_json(graph.to_json()) == graph
