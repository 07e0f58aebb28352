"""Facts in, findings out: what `depthformer doctor` says."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from depthformer_core.doctor import Finding, Level, summary
from depthformer_core.doctor.finding import ok, problem, warning
from depthformer_core.doctor.graph import examine_graph
from depthformer_core.doctor.graph_facts import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    IMAGE,
    POINT_CLOUD,
    DepthNode,
    Endpoint,
    Graph,
    Mismatch,
    Status,
    Stream,
    Topic,
    discovery_range,
)
from depthformer_core.doctor.machine import (
    Gpu,
    MachineFacts,
    driver_version,
    examine_machine,
    gather_machine,
)
from depthformer_core.doctor.network import (
    NetworkFacts,
    SelfTest,
    describe_answer,
    examine_network,
    gather_network,
)
from depthformer_core.doctor.ros import RosFacts, examine_ros, gather_ros, ros_failure
from depthformer_core.presets import PRESETS

Expected = tuple[Level, str, str]
OK, WARNING, PROBLEM = Level


def check(findings: list[Finding], expected: dict[str, Expected]) -> None:
    """Compare what is not well: level, part of what was found, part of cause or advice."""
    bad = {finding.subject: finding for finding in findings if finding.level is not Level.OK}
    assert bad.keys() == expected.keys(), "\n".join(map(str, findings))
    for subject, (level, found, help_) in expected.items():
        finding = bad[subject]
        assert finding.level is level, finding
        assert found in finding.found
        assert help_ in f"{finding.cause}\n{finding.advice}"


# How it is shown


def test_a_finding_is_a_few_lines() -> None:
    assert str(ok("GPU", "none")) == "[ok]      GPU: none"
    lines = str(problem("images", "none", cause="no camera", advice="get one")).splitlines()
    assert lines == [
        "[problem] images: none",
        "            why: no camera",
        "            do:  get one",
    ]
    assert str(warning("x", "y", advice="z")).splitlines()[1] == "            do:  z"


def test_summary_counts() -> None:
    assert summary([]) == "0 problems, 0 warnings"
    findings = [ok("a", ""), problem("b", ""), warning("c", ""), warning("d", "")]
    assert summary(findings) == "1 problem, 2 warnings"


# The machine

A_GPU = Gpu("NVIDIA Orin", (8, 7), 10**10, 3 * 10**10)
MACHINE = MachineFacts(
    package="0.1.0",
    python=(3, 12, 3),
    system="Linux, x86_64",
    threads=8,
    container=False,
    versions={"torch": "2.5.0a0+872d972e41.nv24.8", "timm": "1.0.20", "numpy": "1.26.4"},
    requirements=["numpy", "timm<1.1,>=1.0.16", "torch>=2.4", 'numpy<1; extra == "ros"'],
    gpus=[A_GPU],
    cuda="12.6",
    driver="540.4.0",
    jetson=False,
    bfloat16=False,
)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, {}, id="all well"),
        pytest.param({"gpus": [], "driver": "", "cuda": ""}, {}, id="no GPU"),
        pytest.param(
            {"package": "", "requirements": []},
            {"depthformer_ros": (WARNING, "not installed", "pip install")},
            id="not installed",
        ),
        pytest.param(
            {"python": (3, 14, 0)},
            {"Python": (WARNING, "3.14.0: tested are 3.10 to 3.13", "")},
            id="new Python",
        ),
        pytest.param(
            {"versions": {"torch": "2.3.1+cu121", "timm": "1.1.0"}},
            {
                "torch": (PROBLEM, "2.3.1+cu121, needed is >=2.4", "pip install 'torch>=2.4'"),
                "timm": (PROBLEM, "1.1.0, needed is <1.1,>=1.0.16", "pip install"),
            },
            id="versions out of range",
        ),
        pytest.param(
            {"gpus": [], "cuda": ""},
            {"GPU": (WARNING, "driver 540.4.0: this PyTorch was built without CUDA", "with CUDA")},
            id="PyTorch for the CPU",
        ),
        pytest.param(
            {"gpus": [], "cuda": "", "jetson": True},
            {"GPU": (WARNING, "a Jetson", "NVIDIA's PyTorch for JetPack")},
            id="PyTorch from PyPI on a Jetson",
        ),
        pytest.param(
            {"gpus": []},
            {"GPU": (WARNING, "built for CUDA 12.6, sees none", "--gpus all")},
            id="GPU hidden",
        ),
        pytest.param(
            {"gpus": [dataclasses.replace(A_GPU, free=None)]},
            {"GPU 0": (PROBLEM, "does not answer", "nvidia-smi")},
            id="GPU broken",
        ),
    ],
)
def test_machine(changes: dict[str, Any], expected: dict[str, Expected]) -> None:
    check(examine_machine(dataclasses.replace(MACHINE, **changes)), expected)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "precision auto takes it"),
        ({"gpus": [dataclasses.replace(A_GPU, capability=(7, 5))]}, "auto takes float32"),
        ({"gpus": []}, "the CPU has no instructions"),
        ({"gpus": [], "bfloat16": True}, "for it: precision auto takes it"),
    ],
    ids=["Ampere", "Turing", "old CPU", "new CPU"],
)
def test_bfloat16(changes: dict[str, Any], expected: str) -> None:
    findings = examine_machine(dataclasses.replace(MACHINE, **changes))
    assert expected in next(f.found for f in findings if f.subject == "bfloat16")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22\n", "550.54.14"),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.10  Release Build\n"
            "GCC version:  gcc version 12.3.0\n",
            "570.86.10",
        ),
        ("", ""),
    ],
    ids=["proprietary", "open", "none"],
)
def test_driver_version(text: str, version: str) -> None:
    assert driver_version(text) == version


def test_this_machine_fits() -> None:
    facts = gather_machine()
    assert facts.python >= (3, 10)
    assert all(facts.versions.values())
    assert not [f for f in examine_machine(facts) if f.level is Level.PROBLEM]


# The network

NETWORK = NetworkFacts(
    checkpoint="small",
    preset="small",
    parameters=4_200_000,
    shipped=True,
    largest=80.0,
    device="cuda:0",
    precision="bfloat16",
    attention="CUDA kernel for sm_87",
    test=SelfTest(lowest=3.7, highest=72.9, abs_rel=0.12, first=0.9, second=0.02),
)


def answered(**changes: Any) -> dict[str, Any]:
    assert NETWORK.test is not None
    return {"test": dataclasses.replace(NETWORK.test, **changes)}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, {}, id="all well"),
        pytest.param(
            {"device_failure": "device 'cuda:9' asked for", "test": None},
            {"device": (PROBLEM, "cuda:9", "use auto")},
            id="no such device",
        ),
        pytest.param(
            {"failure": "no checkpoint at x", "test": None},
            {"checkpoint": (PROBLEM, "no checkpoint at x", "depthformer convert")},
            id="no checkpoint",
        ),
        pytest.param(
            {"trained": False, "shipped": False},
            {"checkpoint": (WARNING, "random weights", "its depth means nothing")},
            id="untrained",
        ),
        pytest.param(
            {"attention": "portable: NVRTC is not installed (pip install x)"},
            {"attention": (WARNING, "NVRTC is not installed", "slower")},
            id="no kernel",
        ),
        pytest.param(
            answered(failure="CUDA out of memory. Tried to allocate"),
            {"self-test": (PROBLEM, "out of memory", "smaller checkpoint")},
            id="out of memory",
        ),
        pytest.param(
            answered(failure="CUDA error: no kernel image is available"),
            {"self-test": (PROBLEM, "no kernel image", "--device cpu")},
            id="the GPU fails",
        ),
        pytest.param(
            answered(spoiled=7),
            {"self-test": (PROBLEM, "7 depths", "precision:=float32")},
            id="NaN",
        ),
        pytest.param(
            answered(highest=90.0),
            {"self-test": (PROBLEM, "3.7 to 90.0 m, out of the network's 0 to 80 m", "report it")},
            id="out of range",
        ),
        pytest.param(
            answered(highest=math.inf),
            {"self-test": (PROBLEM, "out of the network's", "report it")},
            id="infinite",
        ),
        pytest.param(
            answered(abs_rel=0.6),
            {"self-test": (PROBLEM, "wrong by 60 %", "less than 20 %")},
            id="wrong",
        ),
        pytest.param(
            {**answered(abs_rel=0.6), "shipped": False}, {}, id="wrong on what it never saw"
        ),
        pytest.param(
            {**answered(lowest=10.0, highest=10.0), "shipped": False},
            {"self-test": (PROBLEM, "10.0 to 10.0 m", "died in training")},
            id="dead",
        ),
        pytest.param(
            answered(first=42.0, second=None),
            {"self-test": (WARNING, "42.00 s a frame", "GPU")},
            id="slow",
        ),
    ],
)
def test_network(changes: dict[str, Any], expected: dict[str, Expected]) -> None:
    check(examine_network(dataclasses.replace(NETWORK, **changes)), expected)


def test_an_answer_is_summed_up_within_the_crop() -> None:
    depth = np.full((4, 6), np.nan, np.float32)
    depth[1:, 1:5] = 2.0
    depth[2, 2] = 8.0
    truth = np.full((4, 6), 4.0, np.float32)
    truth[1] = np.inf
    test = describe_answer(depth, truth, first=1.0, second=0.5)
    assert (test.spoiled, test.lowest, test.highest) == (0, 2.0, 8.0)
    assert test.abs_rel == pytest.approx((7 * 0.5 + 1.0) / 8)
    depth[2, 3] = np.nan
    assert describe_answer(depth, truth, first=1.0, second=None).spoiled == 1
    depth[:] = np.nan
    assert describe_answer(depth, truth, first=1.0, second=None).spoiled == 24


def test_the_weights_of_the_package_pass() -> None:
    facts = gather_network("small", device="cpu")
    assert facts.preset == "small"
    assert facts.shipped
    assert facts.attention.startswith("portable")
    levels = [finding.level for finding in examine_network(facts)]
    assert Level.PROBLEM not in levels


def test_a_preset_is_recognised() -> None:
    facts = gather_network("debug", device="cpu")
    assert facts.preset == "debug"
    assert not facts.trained
    assert facts.largest == PRESETS["debug"].max_depth


@pytest.mark.parametrize(
    ("checkpoint", "device", "field"),
    [("/no/such.safetensors", "cpu", "failure"), ("small", "tpu", "device_failure")],
    ids=["no checkpoint", "no device"],
)
def test_what_cannot_be_loaded_is_a_fact(checkpoint: str, device: str, field: str) -> None:
    facts = gather_network(checkpoint, device=device)
    assert (checkpoint if field == "failure" else device) in getattr(facts, field)
    assert facts.test is None


# ROS


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        pytest.param(
            RosFacts(usable=True, installed=[], environment={"ROS_DISTRO": "jazzy"}),
            {},
            id="all well",
        ),
        pytest.param(RosFacts(usable=True, installed=[], environment={}), {}, id="from PyPI"),
        pytest.param(
            RosFacts(usable=False, installed=["humble", "jazzy"], environment={}),
            {"rclpy": (PROBLEM, "not sourced", "source /opt/ros/jazzy/setup.bash")},
            id="not sourced",
        ),
        pytest.param(
            RosFacts(usable=False, installed=["jazzy"], environment={"ROS_DISTRO": "jazzy"}),
            {"rclpy": (PROBLEM, "though ROS 2 jazzy is sourced", "another Python")},
            id="another Python",
        ),
        pytest.param(
            RosFacts(usable=False, installed=[], environment={}),
            {"rclpy": (WARNING, "there is no ROS 2 here", "ros-jazzy-rclpy")},
            id="no ROS",
        ),
        pytest.param(
            RosFacts(usable=True, installed=[], environment={"ROS_DOMAIN_ID": "robot"}),
            {"ROS_DOMAIN_ID": (PROBLEM, "'robot' is no domain", "0 to 101")},
            id="domain of letters",
        ),
        pytest.param(
            RosFacts(usable=True, installed=[], environment={"ROS_DOMAIN_ID": "233"}),
            {"ROS_DOMAIN_ID": (PROBLEM, "'233' is no domain", "0 to 101")},
            id="domain too large",
        ),
        pytest.param(
            RosFacts(usable=True, installed=[], environment={"ROS_DOMAIN_ID": "150"}),
            {"ROS_DOMAIN_ID": (WARNING, "150 uses ports", "0 to 101")},
            id="domain among Linux's ports",
        ),
        pytest.param(
            RosFacts(
                usable=True,
                installed=[],
                environment={"ROS_AUTOMATIC_DISCOVERY_RANGE": "HOST"},
            ),
            {"ROS_AUTOMATIC_DISCOVERY_RANGE": (WARNING, "'HOST' is none of", "SUBNET")},
            id="no such range",
        ),
    ],
)
def test_ros(facts: RosFacts, expected: dict[str, Expected]) -> None:
    check(examine_ros(facts), expected)


def test_ros_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", "3")
    monkeypatch.setenv("ROS_LOCALHOST_ONLY", "")
    environment = gather_ros().environment
    assert environment["ROS_DOMAIN_ID"] == "3"
    assert "ROS_LOCALHOST_ONLY" not in environment


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("ImportError: numpy.core.multiarray failed to import", "numpy<2"),
        ("ModuleNotFoundError: No module named 'lifecycle_msgs'", "unset RMW_IMPLEMENTATION"),
    ],
    ids=["NumPy", "a package"],
)
def test_ros_failure(reason: str, advice: str) -> None:
    finding = ros_failure(reason)
    assert reason in finding.found
    assert advice in finding.advice


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "SUBNET"),
        ({"ROS_LOCALHOST_ONLY": "1"}, "LOCALHOST"),
        ({"ROS_LOCALHOST_ONLY": "0"}, "SUBNET"),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF"}, "OFF"),
    ],
    ids=["nothing", "localhost only", "not localhost only", "off"],
)
def test_discovery_range(environment: dict[str, str], expected: str) -> None:
    assert discovery_range(environment) == expected


# The graph

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
def test_graph(changes: dict[str, Any], expected: dict[str, Expected]) -> None:
    graph = dataclasses.replace(GRAPH, **changes)
    check(examine_graph(graph), expected)
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
def test_wanted(wanted: str, changes: dict[str, Any], expected: dict[str, Expected]) -> None:
    check(examine_graph(dataclasses.replace(GRAPH, **changes), wanted=[wanted]), expected)
