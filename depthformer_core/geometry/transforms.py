"""Static transforms between the frames of a robot."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from depthformer_core.errors import DepthFormerError
from depthformer_core.types import FloatingArray

# Robots have some dozens of frames; trackers make one for everything they see.
_MOST_LISTED = 20


class _Time(Protocol):
    sec: int
    nanosec: int


class _Header(Protocol):
    @property
    def stamp(self) -> _Time: ...

    frame_id: str


class _Vector(Protocol):
    x: float
    y: float
    z: float


class _Quaternion(Protocol):
    x: float
    y: float
    z: float
    w: float


class _Transform(Protocol):
    translation: _Vector
    rotation: _Quaternion


class TransformMessage(Protocol):
    """The fields of a `geometry_msgs/TransformStamped` that are read."""

    header: _Header
    child_frame_id: str
    transform: _Transform


class TransformsMessage(Protocol):
    """A `tf2_msgs/TFMessage`."""

    transforms: Sequence[TransformMessage]


class TransformError(DepthFormerError):
    """A transform that is malformed or missing; the message names the frames."""


@dataclass(frozen=True, eq=False)
class Link:
    """One transform, which takes points of the child to its parent.

    Attributes:
        parent: The parent's name, without a leading slash.
        child: The child's name, without a leading slash.
        translation: The child's origin seen by the parent, (3,), metres.
        quaternion: The rotation, (4,): x, y, z, w of length 1.
    """

    parent: str
    child: str
    translation: FloatingArray
    quaternion: FloatingArray

    @property
    def matrix(self) -> FloatingArray:
        """Matrix (4, 4) that takes points of the child to the parent, metres."""
        x, y, z, w = self.quaternion
        matrix = np.eye(4)
        # As SciPy's Rotation, which robots do without.
        matrix[:3, :3] = (
            (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
            (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
            (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
        )
        matrix[:3, 3] = self.translation
        return matrix


@dataclass(frozen=True)
class Chain:
    """The chain of transforms from one frame to another.

    Attributes:
        up: Children whose transforms lead from the source up to the common ancestor, in order.
        down: Children whose transforms lead from the target up to the common ancestor, in order.
    """

    up: tuple[str, ...]
    down: tuple[str, ...]

    def matrix(self, step: Callable[[str], FloatingArray]) -> FloatingArray:
        """Return the matrix (4, 4) that takes points of the source to the target.

        Args:
            step: Returns the matrix that takes points of a child to its parent.
        """
        result = np.eye(4)
        for child in self.up:
            result = step(child) @ result
        for child in reversed(self.down):
            result = np.linalg.inv(step(child)) @ result
        return result


class FrameTree:
    """Static transforms between the frames of a robot.

    Names are compared without a leading slash, which ROS 1 allowed.

    Attributes:
        problems: Why transforms were left out, by the child's name; bounded.
    """

    def __init__(self) -> None:
        self.problems: dict[str, str] = {}
        self._parents: dict[str, tuple[str, FloatingArray]] = {}

    def add(self, message: TransformsMessage) -> list[str]:
        """Add the transforms of a message; a child that is known already is replaced.

        An invalid transform is left out on its own, as by tf2.

        Args:
            message: A `tf2_msgs/TFMessage` of any library.

        Returns:
            A sentence for each transform that was left out, with the child's name.
        """
        links, found = read_links(message)
        self._parents.update((link.child, (link.parent, link.matrix)) for _, link in links)
        remember_problems(self.problems, found)
        return [problem for _, problem in found]

    def __len__(self) -> int:
        """Return the number of transforms."""
        return len(self._parents)

    def parent(self, child: str) -> str | None:
        """Return the parent of a frame, if it has one."""
        return self._parents[child][0] if child in self._parents else None

    def step(self, child: str) -> FloatingArray:
        """Return the matrix (4, 4) that takes points of a child to its parent."""
        return self._parents[child][1]

    @property
    def frames(self) -> set[str]:
        """Names of all frames."""
        return {*self._parents, *(parent for parent, _ in self._parents.values())}

    def matrix(self, target: str, source: str) -> FloatingArray:
        """Return the matrix that takes points of one frame to another, over any number of links.

        Args:
            target: Frame to express points in.
            source: Frame the points are in.

        Returns:
            (4, 4), metres; the identity between a frame and itself.

        Raises:
            TransformError: No transforms connect the frames.
        """
        chain = find_chain(self.parent, target, source)
        if chain is None:
            raise TransformError(not_connected(target, source, self.frames, self.problems))
        return chain.matrix(self.step)


def read_links(
    message: TransformsMessage,
) -> tuple[list[tuple[TransformMessage, Link]], list[tuple[str, str]]]:
    """Read the transforms of a `tf2_msgs/TFMessage` of any library.

    Returns:
        Each valid transform, as a message and as a link; and of each invalid one the child's name
        and the problem, as a sentence.
    """
    links, problems = [], []
    for stamped in message.transforms:
        try:
            links.append((stamped, read_link(stamped)))
        except TransformError as error:
            problems.append((frame_name(stamped.child_frame_id), str(error)))
    return links, problems


def read_link(stamped: TransformMessage) -> Link:
    """Read a `geometry_msgs/TransformStamped` of any library.

    What tf2 ignores is refused, except a quaternion of another length than 1: its rotation is
    clear all the same.

    Raises:
        TransformError: The transform is not finite, its quaternion is zero, a frame has no name,
            or it goes from a frame to itself.
    """
    parent, child = frame_name(stamped.header.frame_id), frame_name(stamped.child_frame_id)
    if not child:
        raise TransformError(f"a transform from frame {parent!r} names no child frame")
    if not parent:
        raise TransformError(f"transform of frame {child!r} names no parent frame")
    if parent == child:
        raise TransformError(f"frame {child!r} has a transform to itself")
    offset, turn = stamped.transform.translation, stamped.transform.rotation
    translation = np.array([offset.x, offset.y, offset.z], np.float64)
    quaternion = np.array([turn.x, turn.y, turn.z, turn.w], np.float64)
    # Scaled first: squares of tiny or huge numbers are zero or infinite.
    largest = float(np.abs(quaternion).max())
    if not np.isfinite(largest) or largest == 0:
        raise TransformError(
            f"transform of frame {child!r} has the quaternion {quaternion.tolist()}, no rotation"
        )
    if not np.isfinite(translation).all():
        raise TransformError(
            f"transform of frame {child!r} has the translation {translation.tolist()}"
        )
    quaternion /= largest
    return Link(parent, child, translation, quaternion / np.linalg.norm(quaternion))


def frame_name(frame: str) -> str:
    """Remove the leading slash from a frame's name, which ROS 1 allowed."""
    return frame.removeprefix("/")


def find_chain(parent: Callable[[str], str | None], target: str, source: str) -> Chain | None:
    """Find the chain between two frames; None where they are not connected.

    Args:
        parent: Returns the parent of a frame, if it has one.
        target: Frame to express points in.
        source: Frame the points are in.
    """
    up, down = _ancestry(parent, source), _ancestry(parent, target)
    places = {frame: place for place, frame in enumerate(down)}
    for height, frame in enumerate(up):
        if frame in places:
            return Chain(tuple(up[:height]), tuple(down[: places[frame]]))
    return None


def remember_problems(problems: dict[str, str], found: Iterable[tuple[str, str]]) -> None:
    """Keep the problems of each child's transforms, for as many as are listed."""
    for child, problem in found:
        if child in problems or len(problems) < _MOST_LISTED:
            problems[child] = problem


def not_connected(
    target: str, source: str, frames: Iterable[str], problems: Mapping[str, str]
) -> str:
    """Return the message that no transforms connect two frames, with all frames and problems."""
    known = sorted(frames)
    listed = ", ".join(known[:_MOST_LISTED])
    if len(known) > _MOST_LISTED:
        listed += f" and {len(known) - _MOST_LISTED} others"
    there = f"only between {listed}" if known else "none at all"
    left_out = "".join(f"; left out: {problem}" for problem in problems.values())
    return f"no transforms connect frame {source!r} to {target!r}; there are {there}{left_out}"


def _ancestry(parent: Callable[[str], str | None], frame: str) -> list[str]:
    """List a frame, its parent, and so on."""
    last = frame_name(frame)
    # Damaged transforms may go in a circle, and a long one.
    line = {last: None}
    while (above := parent(last)) is not None and above not in line:
        line[above] = None
        last = above
    return list(line)
