"""Poses of a robot's frames over time: transforms on `/tf`, over the last seconds."""

from bisect import bisect_left

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from depthformer_core.bags.messages import header_stamp
from depthformer_core.geometry.transforms import (
    FrameTree,
    Link,
    TransformError,
    TransformsMessage,
    find_chain,
    frame_name,
    not_connected,
    read_links,
    remember_problems,
)
from depthformer_core.types import FloatingArray

# Transforms farther apart are a gap: a car that brakes is elsewhere by decimetres in between.
_GAP = 1_000_000_000
# Stamps of a frame that go back by more start again, as in a bag of several runs.
_RESTART = 1_000_000_000
_MOST_LINKS = 5000
_MOST_FRAMES = 500


class Motion:
    """Static transforms together with those that change, which are known for the last seconds.

    Between two stamps, translations are interpolated linearly and rotations along the arc. Where
    a frame is the child of a static transform and of others, the static one counts.

    Memory is bounded: transforms of a frame that are older than its newest by more than `keep`
    are forgotten, and beyond 500 frames those that were not heard of for longest.

    Args:
        tree: The static transforms.
        fixed: Frame in which the robot moves and the world stands still.
        keep: For how long transforms are known, nanoseconds.
    """

    def __init__(self, tree: FrameTree, *, fixed: str, keep: int) -> None:
        self._tree = tree
        self._fixed = frame_name(fixed)
        self._keep = keep
        self._problems: dict[str, str] = {}
        self._tracks: dict[str, _Track] = {}

    def add(self, message: TransformsMessage, *, recorded: int) -> list[str]:
        """Take in the transforms of a message.

        A transform that is invalid is skipped on its own, as by tf2.

        Args:
            message: A `tf2_msgs/TFMessage`.
            recorded: When it was recorded, nanoseconds; the stamp of transforms without one.

        Returns:
            A sentence for each skipped transform, with the child's name.
        """
        links, found = read_links(message)
        for stamped, link in links:
            stamp = header_stamp(stamped) or recorded
            # Taken out and put in again: the first is the one not heard of for longest.
            track = self._tracks.pop(link.child, None)
            if track is None or track.restarts(link, stamp):
                track = _Track(link.parent)
            track.add(link, stamp, keep=self._keep)
            self._tracks[link.child] = track
        while len(self._tracks) > _MOST_FRAMES:
            del self._tracks[next(iter(self._tracks))]
        remember_problems(self._problems, found)
        return [problem for _, problem in found]

    def matrix(
        self, target: str, source: str, *, target_stamp: int, source_stamp: int
    ) -> FloatingArray:
        """Return the matrix from one frame at one time to another frame at another time.

        Args:
            target: Frame to express points in.
            source: Frame the points are in.
            target_stamp: Time of the target, nanoseconds.
            source_stamp: Time of the source, nanoseconds.

        Returns:
            (4, 4), metres.

        Raises:
            TransformError: No transforms connect a frame to the fixed one, or they do not reach
                its time.
        """
        to_fixed = self._to_fixed(source, source_stamp)
        return np.linalg.inv(self._to_fixed(target, target_stamp)) @ to_fixed

    def pose(self, frame: str, stamp: int) -> FloatingArray:
        """Return the matrix (4, 4) from a frame at a time, nanoseconds, to the fixed frame.

        Raises:
            TransformError: As for `matrix`.
        """
        return self._to_fixed(frame, stamp)

    def may_come(self, frame: str, stamp: int) -> bool:
        """Return whether the chain from a frame to the fixed one needs transforms yet to come."""
        chain = find_chain(self._parent, self._fixed, frame)
        if chain is None:
            return all(track.newest < stamp for track in self._tracks.values())
        moving = [child for child in (*chain.up, *chain.down) if not self._is_static(child)]
        return any(self._tracks[child].newest < stamp for child in moving)

    def _to_fixed(self, frame: str, stamp: int) -> FloatingArray:
        chain = find_chain(self._parent, self._fixed, frame)
        if chain is None:
            parents = {track.parent for track in self._tracks.values()}
            known = {*self._tree.frames, *self._tracks, *parents}
            problems = {**self._tree.problems, **self._problems}
            raise TransformError(not_connected(self._fixed, frame_name(frame), known, problems))

        def step(child: str) -> FloatingArray:
            if self._is_static(child):
                return self._tree.step(child)
            return self._tracks[child].at(stamp, child=child)

        return chain.matrix(step)

    def _is_static(self, child: str) -> bool:
        return self._tree.parent(child) is not None

    def _parent(self, child: str) -> str | None:
        if self._is_static(child):
            return self._tree.parent(child)
        return self._tracks[child].parent if child in self._tracks else None


class _Track:
    """Transforms of one frame to its parent, by stamp."""

    def __init__(self, parent: str) -> None:
        self.parent = parent
        self._stamps: list[int] = []
        self._links: list[Link] = []

    @property
    def newest(self) -> int:
        return self._stamps[-1]

    def restarts(self, link: Link, stamp: int) -> bool:
        """Return whether a transform does not continue those before it."""
        return link.parent != self.parent or stamp < self.newest - _RESTART

    def add(self, link: Link, stamp: int, *, keep: int) -> None:
        """Put a transform in its place; a later one with the same stamp replaces it."""
        place = bisect_left(self._stamps, stamp)
        same = int(self._stamps[place : place + 1] == [stamp])
        self._stamps[place : place + same] = [stamp]
        self._links[place : place + same] = [link]
        old = bisect_left(self._stamps, self.newest - keep)
        old = max(old, len(self._stamps) - _MOST_LINKS)
        del self._stamps[:old], self._links[:old]

    def at(self, stamp: int, *, child: str) -> FloatingArray:
        """Return the matrix to the parent at a time; raise TransformError where it is not known."""
        place = bisect_left(self._stamps, stamp)
        if self._stamps[place : place + 1] == [stamp]:
            return self._links[place].matrix
        if not 0 < place < len(self._stamps):
            raise TransformError(f"the transforms of frame {child!r} do not reach its time")
        start, end = self._stamps[place - 1 : place + 1]
        if end - start > _GAP:
            raise TransformError(
                f"the transforms of frame {child!r} around its time are more than "
                f"{_GAP / 1e9:g} s apart"
            )
        return _between(*self._links[place - 1 : place + 1], share=(stamp - start) / (end - start))


def _between(first: Link, second: Link, *, share: float) -> FloatingArray:
    translation = first.translation + share * (second.translation - first.translation)
    # Along the shorter arc: a quaternion and its negative are the same rotation.
    arc = Slerp([0, 1], Rotation.from_quat([first.quaternion, second.quaternion]))
    return Link(first.parent, first.child, translation, arc(share).as_quat()).matrix
