"""The watch on the scale of depth, by the ground and what /tf_static or a parameter know of it."""

import importlib
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription

from depthformer_core.errors import DepthFormerError
from depthformer_core.geometry.camera import Camera
from depthformer_core.geometry.ground import Plane, plane_of_frame
from depthformer_core.geometry.scale_watch import ScaleReading, ScaleWatch
from depthformer_core.geometry.transforms import (
    FrameTree,
    TransformError,
    TransformsMessage,
    frame_name,
)
from depthformer_core.types import FloatArray
from depthformer_ros.node.callback_guard import CallbackGuard

TRANSFORMS = "/tf_static"
# REP 120: the first lies on the ground, the second somewhere in the robot.
_FOOTPRINT, _BASE = "base_footprint", "base_link"
# Messages of all publishers of a robot, as tf2 keeps them.
_DEPTH = 100
# Robots have some dozens of frames, of some 100 bytes.
_MOST_BYTES = 1 << 20
_MOST_FRAMES = 5000
_LOWEST, _HIGHEST = 0.02, 100.0  # metres
# Transforms that come without end cost one look a second.
_PERIOD = 1.0


@dataclass(frozen=True)
class _Mount:
    """What is known of a camera's place over the ground.

    Attributes:
        height: Over the ground, metres; 0 while unknown.
        ground: Ground of a frame of the robot; None while there is none.
        origin: Where the height comes from, or why there is none.
    """

    height: float
    ground: Plane | None
    origin: str


_NOTHING = _Mount(0.0, None, "unknown: no image yet")


class NodeScaleWatch:
    """Watches the scale of a node's depth while the camera's height is known.

    Messages come on the executor's thread, frames on the worker's.

    Args:
        node: The node that subscribes and logs.
        height: Returns the parameter `camera.height`, metres; 0 for that of /tf_static.
        rotate: Returns the parameter `input.rotate`.
    """

    def __init__(
        self, node: Node, *, height: Callable[[], float], rotate: Callable[[], int]
    ) -> None:
        self._node = node
        self._height = height
        self._rotate = rotate
        self._kind: type | None = None
        self._missing = ""
        self._subscription: Subscription | None = None
        self._lock = threading.Lock()
        self._tree = FrameTree()
        self._changed = False
        self._known: tuple[str, float] = ("", 0.0)
        self._looked = -math.inf
        self._mount = _NOTHING
        self._watch: ScaleWatch | None = None
        self._warned = False

    def start(self) -> None:
        """Subscribe to the static transforms of the robot."""
        try:
            self._kind = importlib.import_module("tf2_msgs.msg").TFMessage
        except ModuleNotFoundError:
            # The ROS of PyPI has none.
            self._missing = f"tf2_msgs is not installed: {TRANSFORMS} is not read"
            return
        qos = QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=_DEPTH,
            reliability=ReliabilityPolicy.RELIABLE,
            durability=DurabilityPolicy.TRANSIENT_LOCAL,
        )
        self._subscription = self._node.create_subscription(
            self._kind, TRANSFORMS, self._on_transforms, qos, raw=True
        )

    def stop(self) -> None:
        """Unsubscribe, and forget all; not while frames are looked at."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None
        self._tree, self._mount, self._watch = FrameTree(), _NOTHING, None
        self._known, self._looked = ("", 0.0), -math.inf

    def add(self, depth: FloatArray, camera: Camera, *, frame: str, now: float) -> bool:
        """Look at the depth of a frame, if the height of its camera is known.

        Args:
            depth: (H, W), metres; NaN where there is none.
            camera: Its camera.
            frame: Its frame_id.
            now: Time of its arrival, seconds of `time.monotonic`.

        Returns:
            Whether it looked.
        """
        self._update(frame, now)
        if self._watch is None:
            return False
        self._watch.add(now, depth, camera)
        return True

    def learn(self, message: TransformsMessage) -> None:
        """Take the transforms of a `tf2_msgs/TFMessage`; what is wrong with them is logged once."""
        with self._lock:
            if len(self._tree) + len(message.transforms) > _MOST_FRAMES:
                self._warn(f"more than {_MOST_FRAMES} frames on {TRANSFORMS} are not kept")
                return
            problems = self._tree.add(message)
            self._changed = True
        if problems:
            self._warn(f"{TRANSFORMS}: {problems[0]}")

    @property
    def reading(self) -> ScaleReading:
        """What the watch says now."""
        watch = self._watch
        return ScaleReading() if watch is None else watch.reading

    @property
    def problem(self) -> str:
        """A sentence while the scale is off by 15 % or more, else empty."""
        reading, mount = self.reading, self._mount
        if reading.state != "off":
            return ""
        size = f"{reading.scale:.2f} times the true depth"
        return (
            f"depth is {size}, by the ground: the camera seems {reading.height:.2f} m above it, "
            f"its height is {mount.origin}; check camera_info, that height and depth.calibration"
        )

    def values(self) -> dict[str, str]:
        """Return the diagnostics values of the watch."""
        reading = self.reading
        seen = f"{reading.with_ground} of {reading.frames} images"
        unknown = "unknown" if self._watch is None else f"no ground: in {seen}"
        known = reading.state != "unknown"
        return {
            "camera height (m)": self._mount.origin,
            "camera height by the ground (m)": f"{reading.height:.2f}" if known else unknown,
            "scale by the ground": f"{reading.scale:.2f}, {seen}" if known else unknown,
        }

    def _on_transforms(self, data: bytes) -> None:
        with CallbackGuard(self._node, TRANSFORMS, often=True):
            if len(data) > _MOST_BYTES:
                self._warn(f"a message of {len(data)} bytes on {TRANSFORMS} is not read")
                return
            self.learn(deserialize_message(data, self._kind))

    def _warn(self, text: str) -> None:
        """Log the first of such problems alone: the same transforms may come for ever."""
        if not self._warned:
            self._warned = True
            self._node.get_logger().warning(text)

    def _update(self, frame: str, now: float) -> None:
        """Find the camera's place again where something has changed."""
        known = frame, self._height()
        if known == self._known and (not self._changed or now < self._looked + _PERIOD):
            return
        self._known, self._looked = known, now
        with self._lock:
            self._changed = False
            mount = _find_mount(self._tree, *known, missing=self._missing)
        if mount == self._mount:
            return
        self._mount = mount
        up = None if mount.ground is None else mount.ground.normal
        self._watch = None
        if mount.height:
            self._watch = ScaleWatch(mount.height, up=up, rotate=self._rotate())


def _find_mount(tree: FrameTree, frame: str, height: float, *, missing: str) -> _Mount:
    """Return the place of a camera by a parameter, if it is not 0, and by static transforms."""
    ground, base, problem = _find_ground(tree, frame_name(frame))
    if height:
        return _Mount(height, ground, f"{height:g} by camera.height")
    if ground is None:
        return _Mount(0.0, None, f"unknown: {missing or problem}; set camera.height")
    note = "" if base.endswith(_FOOTPRINT) else ", as if that were on the ground"
    return _Mount(ground.height, ground, f"{ground.height:.2f} over {base}{note}")


def _find_ground(tree: FrameTree, camera: str) -> tuple[Plane | None, str, str]:
    """Return the plane of a robot's base, that frame's name, and why there is none."""
    prefix = camera[: camera.rfind("/") + 1]
    for name in (_FOOTPRINT, _BASE):
        # Several robots have a prefix each.
        for base in dict.fromkeys((prefix + name, name)):
            if base == camera:
                continue
            try:
                # Absurd transforms may become infinite.
                with np.errstate(all="ignore"):
                    ground = plane_of_frame(tree.matrix(base, camera))
            except TransformError:
                continue
            except DepthFormerError as error:
                return None, base, f"{base} is no ground, {error}"
            if not _LOWEST <= ground.height <= _HIGHEST:
                return None, base, f"{base} is {ground.height:g} m below the camera"
            return ground, base, ""
    return None, "", f"{TRANSFORMS} leads from {camera!r} to no {_FOOTPRINT} or {_BASE}"
