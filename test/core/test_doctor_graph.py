"""What `depthformer doctor` says of topics and nodes."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from depthformer_core.data.message_types import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE, POINT_CLOUD
from depthformer_core.doctor import Level
from depthformer_core.doctor.graph import examine_graph
from depthformer_core.doctor.graph_facts import (
    DepthNode,
    Endpoint,
    Graph,
    Mismatch,
    Status,
    Stream,
    Topic,
)

Expected = tuple[Level, str, str]
OK, WARNING, PROBLEM = Level

NAME = "/depthformer"
VALUES = {
    "mode": "active",
    "input rate (Hz)": "10.00",
    "output rate (Hz)": "9.80",
    "calibration": "640x480, fx 500.00",
}
RUNNING = DepthNode(NAME, "active", Status("OK", "input running", VALUES))
ME = Endpoint(NAME, IMAGE)
DRIVER = "/camera/driver"


def topic(name: str, **ends: Any) -> Topic:
    return Topic(name, **ends)


def camera(name: str = "/camera/image_raw", kind: str = IMAGE, *, taken: bool = True) -> Topic:
    ends = (Endpoint(NAME, kind),) if taken else ()
    return Topic(name, (Endpoint(DRIVER, kind),), ends)


def info(name: str = "/camera/camera_info", *, taken: bool = True) -> Topic:
    ends = (Endpoint(NAME, CAMERA_INFO),) if taken else ()
    return Topic(name, (Endpoint(DRIVER, CAMERA_INFO),), ends)


def wish(name: str, kind: str) -> Topic:
    """A topic that the node alone subscribes to."""
    return Topic(name, (), (Endpoint(NAME, kind),))


def output(*subscribers: Endpoint, mismatches: tuple[Mismatch, ...] = ()) -> Topic:
    return Topic("/depth/image_rect", (Endpoint(NAME, IMAGE),), subscribers, mismatches)


HEARD = output(Endpoint("/rviz", IMAGE))
IMAGES = Stream("/camera/image_raw", 20, 10.0, (640, 480), "rgb8")
INFOS = Stream("/camera/camera_info", 20, 10.0, (640, 480))
GRAPH = Graph(
    rmw="rmw_fastrtps_cpp",
    domain=0,
    discovery="SUBNET",
    seconds=2.5,
    nodes=(DRIVER, NAME, "/rviz"),
    depth_nodes=(RUNNING,),
    topics=(camera(), info(), HEARD),
    streams=(IMAGES, INFOS),
)


def saying(level: str, message: str, **values: str) -> dict[str, Any]:
    status = Status(level, message, {**VALUES, **values})
    return {"depth_nodes": (DepthNode(NAME, "active", status),)}


def being(state: str, status: Status | None = None) -> dict[str, Any]:
    return {"depth_nodes": (DepthNode(NAME, state, status),)}


def lying(*topics: Topic, streams: tuple[Stream, ...] = ()) -> dict[str, Any]:
    return {"topics": topics, "streams": streams}


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
                "depth_node --ros-args -r image:=/camera/image_raw "
                "-r camera_info:=/camera/camera_info",
            )
        },
        id="no depth node",
    ),
    pytest.param(
        {"nodes": (NAME, NAME)},
        {"nodes": (WARNING, "2 in domain 0", "/depthformer there are several times")},
        id="two of one name",
    ),
    pytest.param(
        being(""),
        {f"{NAME} state": (PROBLEM, "does not answer", "loads its network")},
        id="busy",
    ),
    pytest.param(
        being("unconfigured"),
        {f"{NAME} state": (PROBLEM, "unconfigured", f"ros2 lifecycle set {NAME} configure")},
        id="unconfigured",
    ),
    pytest.param(
        being("unconfigured", Status("ERROR", "configure failed: no checkpoint at x")),
        {f"{NAME} state": (PROBLEM, "no checkpoint at x", f"ros2 param set {NAME} checkpoint")},
        id="bad checkpoint",
    ),
    pytest.param(
        being("inactive"),
        {f"{NAME} state": (PROBLEM, "inactive", f"ros2 lifecycle set {NAME} activate")},
        id="inactive",
    ),
    pytest.param(
        being("finalized"), {f"{NAME} state": (PROBLEM, "finalized", "anew")}, id="finalized"
    ),
    pytest.param(
        being("activating"),
        {f"{NAME} state": (PROBLEM, "activating", "about to change")},
        id="activating",
    ),
    pytest.param(
        being("active"),
        {f"{NAME} diagnostics": (WARNING, "nothing on /diagnostics in 2.5 s", "period")},
        id="no diagnostics",
    ),
    pytest.param(
        saying("OK", "paused", mode="paused"),
        {f"{NAME} diagnostics": (PROBLEM, "paused", f"{NAME}/set_enabled")},
        id="paused",
    ),
    pytest.param(
        saying("ERROR", "input rejected: step is 3"),
        {f"{NAME} diagnostics": (PROBLEM, "step is 3", "driver")},
        id="rejected",
    ),
    pytest.param(
        saying("ERROR", "last frame failed: out of memory"),
        {f"{NAME} diagnostics": (PROBLEM, "out of memory", "smaller checkpoint")},
        id="out of memory",
    ),
    pytest.param(
        saying("ERROR", "the network gave 3 values that are not finite"),
        {f"{NAME} diagnostics": (PROBLEM, "3 values", "precision:=float32")},
        id="not finite",
    ),
    pytest.param(
        saying("ERROR", "last frame failed: KeyError: 3"),
        {f"{NAME} diagnostics": (PROBLEM, "KeyError", "log")},
        id="another error",
    ),
    pytest.param(
        saying("STALE", "input stale"),
        {f"{NAME} diagnostics": (WARNING, "input stale", "")},
        id="stale",
    ),
    pytest.param(
        saying("OK", "input running", **{"output rate (Hz)": "0.00"}),
        {f"{NAME} diagnostics": (WARNING, "0.0 answered", "smaller checkpoint")},
        id="no answers",
    ),
]

TOPIC_FINDINGS = [
    pytest.param(
        lying(info(), HEARD),
        {f"{NAME} images": (PROBLEM, "no subscription is seen", "again")},
        id="not discovered",
    ),
    pytest.param(
        lying(wish("/image", IMAGE), HEARD),
        {f"{NAME} images": (PROBLEM, "images are on nothing", "start the camera's driver")},
        id="no camera",
    ),
    pytest.param(
        lying(
            wish("/image", IMAGE),
            camera("/camera/depth/image_raw", taken=False),
            camera("/camera/color/image_raw", taken=False),
            HEARD,
        ),
        {
            f"{NAME} images": (
                PROBLEM,
                "images are on /camera/color/image_raw (Image), /camera/depth/image_raw (Image)",
                "(launch file: image_topic:=/camera/color/image_raw)",
            )
        },
        id="another name",
    ),
    pytest.param(
        lying(
            wish("/front/image_raw", IMAGE),
            camera("/rear/image_raw", taken=False),
            camera("/front/image_rect", taken=False),
            HEARD,
        ),
        {f"{NAME} images": (PROBLEM, "on /front/image_rect", "-r image:=/front/image_rect")},
        id="a similar name",
    ),
    pytest.param(
        lying(
            wish("/c/image", IMAGE),
            camera("/c/image/compressed", COMPRESSED_IMAGE, taken=False),
            info("/c/camera_info", taken=False),
            HEARD,
        ),
        {
            f"{NAME} images": (
                PROBLEM,
                "but /c/image/compressed is published",
                "-p image_transport:=compressed -r image/compressed:=/c/image/compressed "
                "-r camera_info:=/c/camera_info  (launch file: image_topic:=/c/image "
                "image_transport:=compressed camera_info_topic:=/c/camera_info)",
            )
        },
        id="compressed",
    ),
    pytest.param(
        lying(
            wish("/c/image/compressed", COMPRESSED_IMAGE), camera("/c/image", taken=False), HEARD
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
        lying(Topic("/i", (Endpoint(DRIVER, COMPRESSED_IMAGE),), (ME,)), HEARD),
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
        lying(Topic("/i", (Endpoint("/odd", "std_msgs/msg/String"),), (ME,)), HEARD),
        {f"{NAME} images": (PROBLEM, "as std_msgs/msg/String", "camera's driver")},
        id="no image at all",
    ),
    pytest.param(
        lying(
            dataclasses.replace(camera(), mismatches=(Mismatch(DRIVER, NAME, "Deadline differs"),)),
            info(),
            HEARD,
            streams=(IMAGES, INFOS),
        ),
        {f"{NAME} images": (PROBLEM, "never meet: Deadline differs", "quality of service")},
        id="publisher never meets the node",
    ),
    pytest.param(
        lying(
            Topic("/camera/image_raw", (Endpoint(DRIVER, IMAGE), Endpoint("/bag", IMAGE)), (ME,)),
            info(),
            HEARD,
            streams=(IMAGES, INFOS),
        ),
        {f"{NAME} images": (WARNING, "/camera/driver, /bag publish", "end all but one")},
        id="two cameras",
    ),
    pytest.param(
        lying(camera(), info(), HEARD, streams=(INFOS,)),
        {f"{NAME} images": (WARNING, "the node gets 10.0 a second", "large messages")},
        id="images do not get here",
    ),
    pytest.param(
        {
            **saying("STALE", "input stale", **{"input rate (Hz)": "0.00"}),
            **lying(camera(), info(), HEARD, streams=(INFOS,)),
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
        lying(camera(), wish("/camera_info", CAMERA_INFO), HEARD, streams=(IMAGES,)),
        {f"{NAME} camera_info": (WARNING, "it is on nothing", "calibrate")},
        id="no calibration",
    ),
    pytest.param(
        lying(
            camera(),
            wish("/camera_info", CAMERA_INFO),
            info("/rear/camera_info", taken=False),
            info(taken=False),
            HEARD,
            streams=(IMAGES,),
        ),
        {
            f"{NAME} camera_info": (
                WARNING,
                "nobody publishes /camera_info; it is on /camera/camera_info, /rear/camera_info",
                "-r camera_info:=/camera/camera_info",
            )
        },
        id="calibration of another name",
    ),
    pytest.param(
        lying(
            camera(),
            info("/rear/camera_info"),
            info(taken=False),
            HEARD,
            streams=(IMAGES, dataclasses.replace(INFOS, topic="/rear/camera_info")),
        ),
        {
            f"{NAME} camera_info": (
                WARNING,
                "while /camera/camera_info lies beside the images",
                "-r camera_info:=/camera/camera_info",
            )
        },
        id="calibration of another camera",
    ),
    pytest.param(
        {"streams": (IMAGES, dataclasses.replace(INFOS, size=None, problem="K is zero"))},
        {f"{NAME} camera_info": (WARNING, "unusable: K is zero", "calibrate")},
        id="calibration of zeros",
    ),
    pytest.param(
        {"streams": (IMAGES, dataclasses.replace(INFOS, size=(1280, 960)))},
        {f"{NAME} camera_info": (WARNING, "for 1280x960, images are 640x480", "no cloud")},
        id="calibration of another size",
    ),
    pytest.param(
        {
            **saying("WARN", "no camera_info yet", calibration="no camera_info yet: no cloud"),
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
        lying(camera(), info(), output(), streams=(IMAGES, INFOS)),
        {f"{NAME} outputs": (WARNING, "nobody listens", "ros2 topic hz /depth/image_rect")},
        id="nobody listens",
    ),
    pytest.param(
        lying(
            camera(),
            info(),
            output(Endpoint("/late", IMAGE), mismatches=(Mismatch(NAME, "/late", "durability"),)),
            streams=(IMAGES, INFOS),
        ),
        {f"{NAME} outputs": (PROBLEM, "/late subscribes to /depth/image_rect", "volatile")},
        id="a subscriber that never meets it",
    ),
    pytest.param(
        lying(camera(), info(), output(Endpoint("/odd", POINT_CLOUD)), streams=(IMAGES, INFOS)),
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


@pytest.mark.parametrize(("changes", "expected"), [*NODE_FINDINGS, *TOPIC_FINDINGS])
def test_graph(
    check_findings: Callable[..., None], changes: dict[str, Any], expected: dict[str, Expected]
) -> None:
    graph = dataclasses.replace(GRAPH, **changes)
    check_findings(examine_graph(graph), expected)
    assert Graph.from_json(graph.to_json()) == graph


@pytest.mark.parametrize(
    ("wanted", "changes", "expected"),
    [
        pytest.param("/camera/image_raw", {}, {}, id="listened to"),
        pytest.param(
            "/camera/image",
            {},
            {"camera": (PROBLEM, "nobody publishes images on /camera/image; they are on", "")},
            id="not there",
        ),
        pytest.param(
            "/rear/image_raw",
            lying(
                *GRAPH.topics,
                camera("/rear/image_raw", taken=False),
                streams=(IMAGES, INFOS, dataclasses.replace(IMAGES, topic="/rear/image_raw")),
            ),
            {
                "camera": (
                    PROBLEM,
                    f"no active depth node of {NAME} subscribes to /rear/image_raw",
                    "-r image:=/rear/image_raw",
                )
            },
            id="not listened to",
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
