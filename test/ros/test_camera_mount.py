"""What the node's watch on the scale takes from static transforms."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from depthformer_core.bags.messages import transforms_message
from depthformer_core.geometry.camera import Camera
from depthformer_ros.node.scale_watch import NodeScaleWatch

CAMERA = Camera(96, 64, 80.0, 81.0, 47.0, 33.0)
# Points of the optical frame (x right, y down, z ahead) in a frame x ahead, y left, z up.
OPTICAL = np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])


def moved(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Any:
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return matrix


def transforms(*links: Any) -> Any:
    return transforms_message(links, stamp=0)


def ground(height: float) -> Any:
    _, down = CAMERA.slopes()
    depth = np.where(down > 0, height / np.maximum(down, 1e-6), np.nan)
    return np.repeat(depth[:, None], CAMERA.width, axis=1).astype(np.float32)


class Log:
    """The part of a node that is used, which keeps its log."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def get_logger(self) -> Any:
        return SimpleNamespace(warning=self.lines.append)


class Watched:
    """A watch that sees ground so many metres below, ten frames a second."""

    def __init__(self, seen: float, height: float = 0.0) -> None:
        self.log = Log()
        self.height = height
        self.watch = NodeScaleWatch(
            self.log,  # type: ignore[arg-type]
            height=lambda: self.height,
            rotate=lambda: 0,
        )
        self._depth = ground(seen)
        self._now = 0.0

    def frames(self, count: int = 12, frame: str = "eye") -> dict[str, str]:
        for _ in range(count):
            self._now += 0.1
            self.watch.add(self._depth, CAMERA, frame=frame, now=self._now)
        return self.watch.values()


def chain(base: str, height: float) -> list[Any]:
    """Messages of two publishers that lead from a base to the camera over two frames."""
    return [
        transforms((base, "mast", moved(0.2, 0, height - 0.4))),
        transforms(("mast", "lens", moved(0, 0.1, 0.4)), ("lens", "eye", OPTICAL)),
    ]


def test_a_base_link_is_taken_and_a_footprint_preferred() -> None:
    robot = Watched(1.2)
    values = robot.frames()
    unknown = "unknown: /tf_static leads from 'eye' to no base_footprint or base_link"
    assert values["camera height (m)"] == f"{unknown}; set camera.height"
    assert values["scale by the ground"] == "unknown"
    for message in chain("base_link", 1.2):
        robot.watch.learn(message)
    values = robot.frames(24)
    assert values["camera height (m)"] == "1.20 over base_link, as if that were on the ground"
    assert values["scale by the ground"].startswith("1.00, ")
    assert robot.watch.problem == ""
    robot.watch.learn(transforms(("base_footprint", "base_link", moved(0, 0, 0.3))))
    values = robot.frames(24)
    assert values["camera height (m)"] == "1.50 over base_footprint"
    assert values["camera height by the ground (m)"] == "1.20"
    assert robot.watch.problem.startswith("depth is 0.80 times the true depth, by the ground")
    # A measured height is worth more than a model of the robot.
    robot.height = 1.2
    values = robot.frames()
    assert values["camera height (m)"] == "1.2 by camera.height"
    assert robot.watch.problem == ""
    assert robot.log.lines == []


def test_frames_with_the_prefix_of_a_robot() -> None:
    robot = Watched(1.2)
    robot.watch.learn(transforms(("base_footprint", "two/base_footprint", moved(z=5))))
    robot.watch.learn(transforms(("two/base_footprint", "two/eye", moved(z=1.2) @ OPTICAL)))
    values = robot.frames(frame="/two/eye")
    assert values["camera height (m)"] == "1.20 over two/base_footprint"


def test_a_tilted_camera_and_its_height_by_hand() -> None:
    """/tf_static has the direction, the parameter the height."""
    angle = np.radians(15)
    down = np.eye(4)
    down[1:3, 1:3] = (np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))
    _, slope = CAMERA.slopes()
    fall = slope * np.cos(angle) + np.sin(angle)
    depth = np.where(fall > 0.01, 0.8 / np.maximum(fall, 0.01), np.nan)
    robot = Watched(1.0, height=0.8)
    robot._depth = np.repeat(depth[:, None], CAMERA.width, axis=1).astype(np.float32)
    robot.watch.learn(transforms(("base_link", "eye", moved(z=0.5) @ OPTICAL @ down)))
    assert robot.frames()["scale by the ground"].startswith("1.00, ")


def stamped(parent: str, child: str, translation: Any, rotation: Any = (0, 0, 0, 1.0)) -> Any:
    transform = SimpleNamespace(
        translation=SimpleNamespace(**dict(zip("xyz", translation, strict=True))),
        rotation=SimpleNamespace(**dict(zip("xyzw", rotation, strict=True))),
    )
    header = SimpleNamespace(frame_id=parent)
    return SimpleNamespace(header=header, child_frame_id=child, transform=transform)


def message(*links: Any) -> Any:
    return SimpleNamespace(transforms=list(links))


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(message(stamped("eye", "eye", (0, 0, 0))), id="itself"),
        pytest.param(message(stamped("", "", (0, 0, 0))), id="no names"),
        pytest.param(message(stamped("mast", "eye", (0, 0, np.nan))), id="NaN"),
        pytest.param(message(stamped("mast", "eye", (0, 0, 0), (0.0,) * 4)), id="no rotation"),
        pytest.param(
            message(stamped("a", "b", (0, 0, 0)), stamped("b", "a", (0, 0, 0))), id="cycle"
        ),
    ],
)
def test_bad_transforms_are_logged_once_and_change_nothing(bad: Any) -> None:
    robot = Watched(1.2)
    for _ in range(3):
        robot.watch.learn(bad)
    for good in chain("base_footprint", 1.2):
        robot.watch.learn(good)
    robot.watch.learn(bad)
    assert robot.frames()["scale by the ground"].startswith("1.00, ")
    assert len(robot.log.lines) <= 1


@pytest.mark.parametrize(
    ("links", "text"),
    [
        pytest.param([("base_link", "eye", moved(z=1e308))], "below the camera", id="huge"),
        pytest.param(
            [("base_link", "mast", moved(z=1e308)), ("mast", "eye", moved(z=1e308))],
            "is no ground",
            id="infinite",
        ),
        pytest.param([("base_link", "eye", moved(z=-1.0))], "is no ground", id="below"),
        pytest.param([("eye", "base_link", OPTICAL)], "is no ground", id="on the ground"),
        pytest.param([("base_link", "ear", moved(z=1.0))], "leads from 'eye'", id="other frame"),
        pytest.param(
            [("a", "eye", moved()), ("b", "a", moved()), ("a", "b", moved())],
            "leads from 'eye'",
            id="cycle",
        ),
    ],
)
@pytest.mark.filterwarnings("error")
def test_transforms_that_give_no_height(links: list[Any], text: str) -> None:
    robot = Watched(1.2)
    robot.watch.learn(transforms(*links))
    values = robot.frames()
    assert text in values["camera height (m)"]
    assert values["scale by the ground"] == "unknown"
    assert robot.watch.problem == ""


def test_floods_are_bounded() -> None:
    robot = Watched(1.2)
    for good in chain("base_footprint", 1.2):
        robot.watch.learn(good)
    for start in range(0, 20_000, 1000):
        robot.watch.learn(
            message(*(stamped(f"f{i}", f"f{i + 1}", (0, 0, 1)) for i in range(start, start + 1000)))
        )
    assert len(robot.watch._tree) <= 5000
    assert robot.log.lines == ["more than 5000 frames on /tf_static are not kept"]
    assert robot.frames()["scale by the ground"].startswith("1.00, ")


def test_messages_that_are_too_long_or_cut_are_left_out() -> None:
    from std_msgs.msg import String

    robot = Watched(1.2)
    robot.watch._kind = String
    robot.log.context = SimpleNamespace(ok=lambda: False)  # type: ignore[attr-defined]
    for data in (b"", b"\0\1\0\0", bytes(100), bytes(2_000_000)):
        robot.watch._on_transforms(data)
    assert robot.log.lines == ["a message of 2000000 bytes on /tf_static is not read"]
    assert len(robot.watch._tree) == 0
