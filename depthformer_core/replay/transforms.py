"""Where the sensors of a robot sit: static transforms between its frames."""

from collections import defaultdict, deque
from typing import Any

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.floating[Any]]


class TransformError(ValueError):
    """A transform that is malformed or missing; the message names the frames."""


class FrameTree:
    """Static transforms between the frames of a robot.

    Names are compared without a leading slash, which ROS 1 allowed.
    """

    def __init__(self) -> None:
        # By child: its parent, and the matrix that takes the child's points to the parent.
        self._parents: dict[str, tuple[str, Matrix]] = {}

    def add(self, message: Any) -> None:
        """Take in the transforms of a message; a child that is known already is replaced.

        Args:
            message: A `tf2_msgs/TFMessage` of any library.

        Raises:
            TransformError: A transform is not finite, its quaternion is zero, or it goes from a
                frame to itself. Nothing of the message is taken in then.
        """
        fresh = {}
        for stamped in message.transforms:
            parent, child = _name(stamped.header.frame_id), _name(stamped.child_frame_id)
            if parent == child:
                raise TransformError(f"frame {child!r} has a transform to itself")
            fresh[child] = (parent, _matrix(stamped.transform, child=child))
        self._parents.update(fresh)

    def matrix(self, target: str, source: str) -> Matrix:
        """Matrix that takes points of one frame to another, over as many transforms as it needs.

        Args:
            target: Frame to express points in.
            source: Frame the points are in.

        Returns:
            (4, 4), metres; the identity between a frame and itself.

        Raises:
            TransformError: No transforms connect the frames.
        """
        start, goal = _name(source), _name(target)
        steps: defaultdict[str, list[tuple[str, Matrix]]] = defaultdict(list)
        for child, (parent, matrix) in self._parents.items():
            steps[child].append((parent, matrix))
            steps[parent].append((child, np.linalg.inv(matrix)))
        found = {start: np.eye(4)}
        waiting = deque([start])
        while waiting and goal not in found:
            frame = waiting.popleft()
            for neighbour, step in steps[frame]:
                if neighbour not in found:
                    found[neighbour] = step @ found[frame]
                    waiting.append(neighbour)
        if goal not in found:
            known = {*self._parents, *(parent for parent, _ in self._parents.values())}
            there = f"only between {', '.join(sorted(known))}" if known else "none at all"
            raise TransformError(
                f"no transforms connect frame {source!r} to {target!r}; there are {there}"
            )
        return found[goal]


def _name(frame: str) -> str:
    return frame.removeprefix("/")


def _matrix(transform: Any, *, child: str) -> Matrix:
    offset, turn = transform.translation, transform.rotation
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
    x, y, z, w = quaternion / np.linalg.norm(quaternion)
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, 3] = translation
    return matrix
