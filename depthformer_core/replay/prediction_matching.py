"""Images joined by the recorded predictions of their time, and by the pose of their camera."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from depthformer_core.bags import BagError, BagMessage
from depthformer_core.bags.messages import header_stamp
from depthformer_core.replay.matching import StampMatcher
from depthformer_core.replay.prediction_topics import PlannedPrediction, PredictionReader
from depthformer_core.replay.tally import Reasons

_SECOND = 1_000_000_000
# A slow network's prediction is recorded much later than its image.
_PATIENCE = 5 * _SECOND
_IMAGES_WAITING = 64
_PREDICTIONS_KEPT = 128
# Images of one topic may be out of order by so much.
_BEHIND = _SECOND // 5


class StampedImage(Protocol):
    """An image with its times."""

    @property
    def stamp(self) -> int:
        """When it was measured, nanoseconds."""

    @property
    def recorded(self) -> int:
        """When it was recorded, nanoseconds."""


Image = TypeVar("Image", bound=StampedImage)


@dataclass(frozen=True, eq=False)
class Recorded:
    """A recorded prediction.

    Attributes:
        message: The message.
        stamp: Its stamp, nanoseconds.
        recorded: When it was recorded, nanoseconds.
    """

    message: Any
    stamp: int
    recorded: int


@dataclass(frozen=True, eq=False)
class Joined(Generic[Image]):
    """An image with all that was recorded for its time.

    Attributes:
        image: The image.
        truths: Messages with its truth.
        predictions: What each prediction topic has, by name; absent where it has none.
    """

    image: Image
    truths: list[Any]
    predictions: dict[str, Recorded] = field(default_factory=dict)


class PredictionStage(Generic[Image]):
    """Adds to each image the prediction with the nearest stamp.

    An image waits for a prediction that is not older than itself, for five seconds of the
    recording at most.

    Args:
        planned: The topic.
        tolerance: Largest difference of the stamps, nanoseconds.

    Attributes:
        reader: Reads the predictions.
        without: Number of images without a prediction, by reason.
        damaged: Number of damaged messages.
    """

    def __init__(self, planned: PlannedPrediction, *, tolerance: int) -> None:
        self.reader = PredictionReader(planned)
        self.without = Reasons()
        self.damaged = 0
        self.name = planned.name
        self._planned = planned
        self._matcher = StampMatcher[Joined[Image], Recorded](
            tolerance=tolerance,
            patience=_PATIENCE,
            images=_IMAGES_WAITING,
            truths=_PREDICTIONS_KEPT,
            behind=tolerance + _BEHIND,
        )

    @property
    def hurried(self) -> int:
        """Number of images that no longer waited, because too many did."""
        return self._matcher.hurried

    def advance(self, ready: Iterable[Joined[Image]], item: BagMessage) -> Iterator[Joined[Image]]:
        """Take the images that come from the stage before, and the newest message.

        Yields:
            Images that wait no longer, in their order.
        """
        yield from self._add(ready)
        if item.topic == self._planned.topic:
            try:
                message = item.message()
            except BagError:
                self.damaged += 1
                return
            stamp = header_stamp(message) or item.stamp
            recorded = Recorded(message, stamp, item.stamp)
            yield from self._join(
                self._matcher.add_truth(recorded, stamp=stamp, recorded=item.stamp)
            )
            return
        if item.topic == self._planned.camera_info:
            self.reader.calibrate(item)
        yield from self._join(self._matcher.release(item.stamp))

    def rest(self, ready: Iterable[Joined[Image]]) -> Iterator[Joined[Image]]:
        """Return the images that still wait, at the end of the bag; see `advance`."""
        yield from self._add(ready)
        yield from self._join(self._matcher.rest())

    def _add(self, ready: Iterable[Joined[Image]]) -> Iterator[Joined[Image]]:
        for joined in ready:
            image = joined.image
            yield from self._join(
                self._matcher.add_image(joined, stamp=image.stamp, recorded=image.recorded)
            )

    def _join(
        self, pairs: Iterable[tuple[Joined[Image], list[Recorded]]]
    ) -> Iterator[Joined[Image]]:
        for joined, found in pairs:
            if found:
                joined.predictions[self.name] = found[0]
            yield joined


class PoseStage(Generic[Image]):
    """Holds images until the transforms of their time have come, for a second at most.

    Args:
        may_come: Returns whether the transforms of an image's time may still come.
    """

    def __init__(self, may_come: Callable[[Image], bool]) -> None:
        self._may_come = may_come
        self._waiting: deque[Joined[Image]] = deque()

    def advance(self, ready: Iterable[Joined[Image]], item: BagMessage) -> Iterator[Joined[Image]]:
        """Return the images that wait no longer, see `PredictionStage.advance`."""
        self._waiting.extend(ready)
        while self._waiting:
            image = self._waiting[0].image
            # Images that waited for their predictions have waited long enough.
            late = item.stamp - image.recorded > _SECOND or len(self._waiting) > _IMAGES_WAITING
            if not late and self._may_come(image):
                return
            yield self._waiting.popleft()

    def rest(self, ready: Iterable[Joined[Image]]) -> Iterator[Joined[Image]]:
        """Return the images that still wait, at the end of the bag."""
        self._waiting.extend(ready)
        while self._waiting:
            yield self._waiting.popleft()
