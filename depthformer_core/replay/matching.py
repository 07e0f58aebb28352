"""Images and the truth measured at the same time, brought together as they come."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

Image = TypeVar("Image")
Truth = TypeVar("Truth")


@dataclass(frozen=True)
class _Stamped(Generic[Image]):
    item: Image
    stamp: int
    recorded: int


class StampMatcher(Generic[Image, Truth]):
    """Gives each image the truth whose stamp is nearest to its own.

    One pass, bounded memory: an image waits until a truth that is not older than itself has come,
    as later ones are farther from it, and for so long as one may still be on its way. Stamps may
    start again, as in a bag of several runs.

    Args:
        tolerance: Largest difference between the stamps of an image and its truth, nanoseconds.
        patience: How much later than an image its truth may be recorded, nanoseconds.
        images: How many images may wait.
        truths: How many truths are kept for images to come.

    Attributes:
        hurried: How many images went before their time, because too many waited.
        dropped: How many truths were dropped before their time, because there were too many.
        nearest_miss: Smallest difference to an image that was too large, nanoseconds.
    """

    def __init__(self, *, tolerance: int, patience: int, images: int, truths: int) -> None:
        self.hurried = 0
        self.dropped = 0
        self.nearest_miss: int | None = None
        self._tolerance = tolerance
        self._patience = patience
        self._most_images = images
        self._most_truths = truths
        self._images: deque[_Stamped[Image]] = deque()
        self._truths: deque[_Stamped[Truth]] = deque()
        self._last: int | None = None

    def add_image(
        self, item: Image, *, stamp: int, recorded: int
    ) -> Iterator[tuple[Image, Truth | None]]:
        """Take an image; give those that wait no longer, in their order, each with its truth.

        Args:
            item: The image.
            stamp: When it was measured, nanoseconds.
            recorded: When it was recorded, nanoseconds.
        """
        self._images.append(_Stamped(item, stamp, recorded))
        return self._ready(recorded)

    def add_truth(
        self, item: Truth, *, stamp: int, recorded: int
    ) -> Iterator[tuple[Image, Truth | None]]:
        """Take a truth; give the images that wait no longer, see `add_image`."""
        self._truths.append(_Stamped(item, stamp, recorded))
        self._last = stamp
        if len(self._truths) > self._most_truths:
            self._truths.popleft()
            self.dropped += 1
        return self._ready(recorded)

    def rest(self) -> Iterator[tuple[Image, Truth | None]]:
        """Give the images that still wait: no more truth is to come."""
        while self._images:
            yield self._match(self._images.popleft())

    def _ready(self, now: int) -> Iterator[tuple[Image, Truth | None]]:
        while self._images and self._may_go(self._images[0], now):
            yield self._match(self._images.popleft())
        # Those that wait came within the patience, and their truth at most as long before them.
        while self._truths and now - self._truths[0].recorded > 2 * self._patience:
            self._truths.popleft()

    def _may_go(self, image: _Stamped[Image], now: int) -> bool:
        if self._last is not None and self._last >= image.stamp:
            return True
        if now - image.recorded > self._patience:
            return True
        if len(self._images) > self._most_images:
            self.hurried += 1
            return True
        return False

    def _match(self, image: _Stamped[Image]) -> tuple[Image, Truth | None]:
        def distance(truth: _Stamped[Truth]) -> int:
            return abs(truth.stamp - image.stamp)

        nearest = min(self._truths, key=distance, default=None)
        if nearest is None:
            return image.item, None
        if distance(nearest) > self._tolerance:
            miss = distance(nearest)
            self.nearest_miss = miss if self.nearest_miss is None else min(miss, self.nearest_miss)
            return image.item, None
        return image.item, nearest.item
