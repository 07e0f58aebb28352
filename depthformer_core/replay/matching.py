"""Images and the truth measured at the same time, brought together as they come."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
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
    """Matches each image with the truth of the nearest stamp, and with its neighbours.

    One pass, bounded memory. Images go in their order; the first one waits

    - until a truth has come that is not older than itself, as later ones are farther from it;
    - with neighbours, until so many have come after that one;
    - until `ready` returns true for the image and these truths.

    None waits for longer than the patience, nor while too many wait. Stamps may start again, as
    in a bag of several runs.

    Args:
        tolerance: Largest difference between the stamps of an image and its truth, nanoseconds.
        patience: Longest wait of an image in recording time, nanoseconds.
        images: Largest number of waiting images.
        truths: Largest number of truths kept for later images.
        neighbours: Number of truths before the nearest one, and after it, that an image gets too.
        behind: How much older than the image that went last a truth may be, nanoseconds; older ones
            are dropped. None keeps them for later images, as for neighbours.
        ready: Returns whether an image need not wait any longer with these truths; called again
            with every message, see `release`.

    Attributes:
        hurried: Number of images released early, because too many waited.
        missed: Number of images without truth after too many truths were dropped.
        nearest_miss: Smallest difference to an image that was too large, nanoseconds.
    """

    def __init__(
        self,
        *,
        tolerance: int,
        patience: int,
        images: int,
        truths: int,
        neighbours: int = 0,
        behind: int | None = None,
        ready: Callable[[Image, Sequence[Truth]], bool] | None = None,
    ) -> None:
        self.hurried = 0
        self.missed = 0
        self.nearest_miss: int | None = None
        self._tolerance = tolerance
        self._patience = patience
        self._most_images = images
        self._most_truths = truths
        self._neighbours = neighbours
        self._behind = behind
        self._ready = ready
        self._images: deque[_Stamped[Image]] = deque()
        self._truths: deque[_Stamped[Truth]] = deque()
        # Stamps of the truths that came last, and of the one that was dropped last.
        self._latest: deque[int] = deque(maxlen=neighbours + 1)
        self._dropped: int | None = None

    def add_image(
        self, item: Image, *, stamp: int, recorded: int
    ) -> Iterator[tuple[Image, list[Truth]]]:
        """Add an image; return those that wait no longer, in their order, each with its truths.

        Args:
            item: The image.
            stamp: When it was measured, nanoseconds.
            recorded: When it was recorded, nanoseconds.

        Returns:
            Images and their truths by stamp: none where none is within the tolerance.
        """
        self._images.append(_Stamped(item, stamp, recorded))
        return self.release(recorded)

    def add_truth(
        self, item: Truth, *, stamp: int, recorded: int
    ) -> Iterator[tuple[Image, list[Truth]]]:
        """Add a truth; return the images that wait no longer, see `add_image`."""
        self._truths.append(_Stamped(item, stamp, recorded))
        self._latest.append(stamp)
        if len(self._truths) > self._most_truths:
            self._dropped = self._truths.popleft().stamp
        return self.release(recorded)

    def release(self, now: int) -> Iterator[tuple[Image, list[Truth]]]:
        """Return the images that wait no longer, see `add_image`; `now` is a time of recording."""
        while self._images and self._may_go(self._images[0], now):
            yield self._match(self._images.popleft())
        # Those that wait came within the patience, and their truths at most as long before them.
        while self._truths and now - self._truths[0].recorded > 2 * self._patience:
            self._truths.popleft()

    def rest(self) -> Iterator[tuple[Image, list[Truth]]]:
        """Return the images that still wait, at the end of the bag."""
        while self._images:
            yield self._match(self._images.popleft())

    def _may_go(self, image: _Stamped[Image], now: int) -> bool:
        if now - image.recorded > self._patience or self._is_complete(image):
            return True
        if len(self._images) > self._most_images:
            self.hurried += 1
            return True
        return False

    def _is_complete(self, image: _Stamped[Image]) -> bool:
        if len(self._latest) <= self._neighbours or min(self._latest) < image.stamp:
            return False
        return self._ready is None or self._ready(image.item, self._around(image))

    def _around(self, image: _Stamped[Image]) -> list[Truth]:
        """Return the truth nearest to an image with its neighbours; empty where it is too far."""
        truths = sorted(self._truths, key=lambda truth: truth.stamp)
        distances = [abs(truth.stamp - image.stamp) for truth in truths]
        if not truths or min(distances) > self._tolerance:
            return []
        place = distances.index(min(distances))
        around = truths[max(0, place - self._neighbours) : place + self._neighbours + 1]
        return [truth.item for truth in around]

    def _match(self, image: _Stamped[Image]) -> tuple[Image, list[Truth]]:
        around = self._around(image)
        if not around:
            self._note_miss(image.stamp)
        if self._behind is not None:
            oldest = image.stamp - self._behind
            while self._truths and self._truths[0].stamp < oldest:
                self._truths.popleft()
        return image.item, around

    def _note_miss(self, stamp: int) -> None:
        misses = [abs(truth.stamp - stamp) for truth in self._truths]
        if self.nearest_miss is not None:
            misses.append(self.nearest_miss)
        self.nearest_miss = min(misses, default=None)
        if self._dropped is not None:
            # Farther before it are images of a run after a restart of the stamps.
            passed = self._dropped + self._tolerance - stamp
            self.missed += 0 <= passed <= 2 * self._patience
