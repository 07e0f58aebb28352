"""What `depthformer doctor` says of topics and nodes."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from depthformer_core.bags.message_types import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE, POINT_CLOUD
from depthformer_core.doctor import Level
from depthformer_ros.doctor.graph import examine_graph
from depthformer_ros.doctor.graph_facts import (
    Endpoint,
    Graph,
    GraphTopic,
    Mismatch,
    NodeFacts,
    Status,
    Stream,
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
RUNNING = NodeFacts(NAME, "active", Status("OK", "input running", VALUES))
ME = Endpoint(NAME, IMAGE)
DRIVER = "/camera/driver"


def topic(name: str, **ends: Any) -> GraphTopic:
    return GraphTopic(name, **ends)


def camera(name: str = "/camera/image_raw", kind: str = IMAGE, *, taken: bool = True) -> GraphTopic:
    ends = (Endpoint(NAME, kind),) if taken else ()
    return GraphTopic(name, (Endpoint(DRIVER, kind),), ends)


def info(name: str = "/camera/camera_info", *, taken: bool = True) -> GraphTopic:
    ends = (Endpoint(NAME, CAMERA_INFO),) if taken else ()
    return GraphTopic(name, (Endpoint(DRIVER, CAMERA_INFO),), ends)


def wish(name: str, kind: str) -> GraphTopic:
    """A topic that the node alone subscribes to."""
    return GraphTopic(name, (), (Endpoint(NAME, kind),))


def output(*subscribers: Endpoint, mismatches: tuple[Mismatch, ...] = ()) -> GraphTopic:
    return GraphTopic("/depth/image_rect", (Endpoint(NAME, IMAGE),), subscribers, mismatches)


JPEG = camera("/c/image/compressed", COMPRESSED_IMAGE, taken=False)
HEARD = output(Endpoint("/rviz", IMAGE))
IMAGES = Stream("/camera/image_raw", 20, 10.0, (640, 480), "rgb8", length=921700, frame_id="eye")
INFOS = Stream("/camera/camera_info", 20, 10.0, (640, 480), frame_id="eye")
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
    return {"depth_nodes": (NodeFacts(NAME, "active", status),)}


def being(state: str, status: Status | None = None) -> dict[str, Any]:
    return {"depth_nodes": (NodeFacts(NAME, state, status),)}


def lying(*topics: GraphTopic, streams: tuple[Stream, ...] = ()) -> dict[str, Any]:
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
        being(""),
        {f"{NAME} state": (PROBLEM, "does not respond", "loads its network")},
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
        being("finalized"), {f"{NAME} state": (PROBLEM, "finalized", "restart")}, id="finalized"
    ),
    pytest.param(
        being("activating"),
        {f"{NAME} state": (PROBLEM, "activating", "wait, and run this again")},
        id="activating",
    ),
    pytest.param(
        being("active"),
        {f"{NAME} diagnostics": (WARNING, "no message on /diagnostics in 2.5 s", "period")},
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
        saying("ERROR", "the network returned 3 values that are not finite"),
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
        id="stale, as older nodes say it",
    ),
    pytest.param(
        saying("ERROR", "input stale"),
        {f"{NAME} diagnostics": (PROBLEM, "input stale", "camera's driver still runs")},
        id="stale",
    ),
    pytest.param(
        saying("OK", "input running", **{"output rate (Hz)": "0.00"}),
        {f"{NAME} diagnostics": (WARNING, "0.0 predicted", "smaller checkpoint")},
        id="no predictions",
    ),
]

TOPIC_FINDINGS = [
    pytest.param(
        lying(info(), HEARD),
        {f"{NAME} images": (PROBLEM, "subscribes to no images yet", "again")},
        id="not discovered",
    ),
    pytest.param(
        lying(wish("/image", IMAGE), HEARD),
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
        lying(
            wish("/image", IMAGE),
            camera("/camera/depth/image_raw", taken=False),
            camera("/camera/color/image_raw", taken=False),
            HEARD,
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
                "depth_camera.launch.py image_topic:=/c/image image_transport:=compressed  "
                "(without launch: ros2 run depthformer_ros depth_node --ros-args -p "
                "image_transport:=compressed -r image/compressed:=/c/image/compressed "
                "-r camera_info:=/c/camera_info)",
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
        lying(GraphTopic("/i", (Endpoint(DRIVER, COMPRESSED_IMAGE),), (ME,)), HEARD),
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
        lying(GraphTopic("/i", (Endpoint("/odd", "std_msgs/msg/String"),), (ME,)), HEARD),
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
        {f"{NAME} images": (PROBLEM, "cannot receive it: Deadline differs", "qos_overrides")},
        id="publisher never meets the node",
    ),
    pytest.param(
        lying(
            GraphTopic(
                "/camera/image_raw", (Endpoint(DRIVER, IMAGE), Endpoint("/bag", IMAGE)), (ME,)
            ),
            info(),
            HEARD,
            streams=(IMAGES, INFOS),
        ),
        {f"{NAME} images": (WARNING, "/camera/driver, /bag publish", "end all but one")},
        id="two cameras",
    ),
    pytest.param(
        lying(camera(), info(), HEARD, streams=(INFOS,)),
        {f"{NAME} images": (WARNING, "the node reports 10.0 a second", "lost in transit")},
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
                "there is camera_info on /camera/camera_info, /rear/camera_info",
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
        {
            f"{NAME} outputs": (
                WARNING,
                "nobody subscribes to /depth/image_rect",
                "ros2 topic hz /depth/image_rect",
            )
        },
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


def reliable(
    topic: GraphTopic, *, publishers: bool = True, subscribers: bool = False
) -> GraphTopic:
    """The topic, with reliable delivery offered, and asked for."""
    return dataclasses.replace(
        topic,
        publishers=tuple(dataclasses.replace(e, reliable=publishers) for e in topic.publishers),
        subscribers=tuple(dataclasses.replace(e, reliable=subscribers) for e in topic.subscribers),
    )


def latched(topic: GraphTopic, *, subscribers: bool = False) -> GraphTopic:
    """The topic, with the last message kept for later subscribers, and asked for."""
    return dataclasses.replace(
        topic,
        publishers=tuple(dataclasses.replace(end, latched=True) for end in topic.publishers),
        subscribers=tuple(
            dataclasses.replace(end, latched=subscribers) for end in topic.subscribers
        ),
    )


def coming(images: float, infos: float = 30.0, **facts: Any) -> tuple[Stream, ...]:
    """What comes at these rates, messages a second."""
    return (
        dataclasses.replace(IMAGES, rate=images, count=int(2.5 * images), **facts),
        dataclasses.replace(INFOS, rate=infos, count=int(2.5 * infos)),
    )


ONCE = dataclasses.replace(INFOS, count=1, rate=0.0)
UNKNOWN = saying("WARN", "no camera_info yet", calibration="no camera_info yet: no cloud")
LOST = f"5.2 images a second came, but 30.0 camera_info a second on {INFOS.topic}, both from"

LOSS_FINDINGS = [
    pytest.param(
        {"streams": coming(5.2)},
        {f"{NAME} images": (WARNING, LOST, "an image has 0.9 MB, and a driver with Fast DDS's")},
        id="images are lost",
    ),
    pytest.param(
        {"streams": coming(5.2), "topics": (reliable(camera()), info(), HEARD)},
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
        {"streams": coming(5.2)},
        {f"{NAME} images": (WARNING, LOST, "or let the driver publish reliable")},
        id="images of a best-effort driver are lost",
    ),
    pytest.param(
        {
            "streams": coming(5.2),
            "topics": (
                camera(),
                info(),
                camera("/camera/image_raw/compressed", COMPRESSED_IMAGE, taken=False),
                HEARD,
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
        {"streams": coming(5.2), "rmw": "rmw_cyclonedds_cpp"},
        {f"{NAME} images": (WARNING, LOST, "net.core.rmem_max")},
        id="images are lost with another middleware",
    ),
    pytest.param(
        {"streams": coming(5.2, length=90_000)},
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
            **saying("ERROR", "input stale", **{"input rate (Hz)": "0.00"}),
        },
        {
            f"{NAME} images": (PROBLEM, "while 10.0 camera_info a second came", "large_messages"),
            f"{NAME} diagnostics": (PROBLEM, "input stale", ""),
        },
        id="all images are lost",
    ),
    pytest.param({"streams": coming(26.0)}, {}, id="nearly all images come"),
    pytest.param({"streams": coming(30.0, 5.0)}, {}, id="camera_info comes more slowly"),
    pytest.param({"streams": (IMAGES, ONCE)}, {}, id="camera_info came once"),
    pytest.param(
        {
            "streams": coming(10.0),
            "topics": (
                camera(),
                GraphTopic(INFOS.topic, (Endpoint("/other", CAMERA_INFO),), info().subscribers),
                HEARD,
            ),
        },
        {},
        id="camera_info of another node comes faster",
    ),
    pytest.param(
        {"streams": coming(30.0), "topics": (reliable(camera()), info(), HEARD)},
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
        {"streams": coming(30.0), "topics": (reliable(camera(), subscribers=True), info(), HEARD)},
        {},
        id="a reliable node gets fewer, which is its own affair",
    ),
]

CALIBRATION_FINDINGS = [
    pytest.param(
        {**UNKNOWN, "streams": (IMAGES, ONCE), "topics": (camera(), latched(info()), HEARD)},
        {
            f"{NAME} camera_info": (WARNING, "new messages only (volatile)", "no cloud"),
            f"{NAME} diagnostics": (WARNING, "no camera_info yet", ""),
        },
        id="a latched camera_info that reaches nobody",
    ),
    pytest.param(
        {"streams": (IMAGES, ONCE), "topics": (camera(), latched(info()), HEARD)},
        {},
        id="a latched camera_info that the node has",
    ),
    pytest.param(
        {
            "streams": (IMAGES, ONCE),
            "topics": (
                camera(),
                dataclasses.replace(info(), mismatches=(Mismatch(DRIVER, NAME, "durability"),)),
                HEARD,
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

COMMAND_FINDINGS = [
    pytest.param(
        lying(wish("/c/image/compressed/compressed", COMPRESSED_IMAGE), JPEG, HEARD),
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
        lying(
            wish("/image", IMAGE),
            camera("/kitti/camera_color_left/image_raw", taken=False),
            HEARD,
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
        lying(
            camera("/c/left_image"),
            wish("/camera_info", CAMERA_INFO),
            info("/c/left_info", taken=False),
            HEARD,
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
        lying(
            wish("/image", IMAGE),
            wish("/camera_info", CAMERA_INFO),
            camera(taken=False),
            info(taken=False),
            HEARD,
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
        lying(wish("/image", IMAGE), camera("/c/jpeg", COMPRESSED_IMAGE, taken=False), HEARD),
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


@pytest.mark.parametrize(
    ("changes", "expected"),
    [*NODE_FINDINGS, *TOPIC_FINDINGS, *LOSS_FINDINGS, *CALIBRATION_FINDINGS, *COMMAND_FINDINGS],
)
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
            lying(
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
            id="not listened to",
        ),
        pytest.param(
            "/c/image",
            lying(*GRAPH.topics, JPEG, streams=(IMAGES, INFOS)),
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
            lying(*GRAPH.topics[1:], wish("/camera/image_raw", IMAGE), streams=(INFOS,)),
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


def test_no_launch_argument_ends_in_compressed() -> None:
    topics = (wish("/image", IMAGE), camera("/c/compressed/compressed", COMPRESSED_IMAGE), HEARD)
    for finding in examine_graph(dataclasses.replace(GRAPH, topics=topics)):
        assert "image_topic:=/c/compressed" not in finding.advice
