"""The frames of any bag, each with the truth measured at the same time."""

from collections.abc import Iterator
from pathlib import Path

from depthformer_core.bags import BagReader
from depthformer_core.geometry.ground import Plane
from depthformer_core.replay.bag_pass import BagFrame, BagPass
from depthformer_core.replay.frame_plan import FrameOptions, plan_frames
from depthformer_core.replay.prediction_topics import PlannedPrediction

__all__ = ["BagFrame", "BagFrames"]


class BagFrames:
    """Reads the images of a bag one after the other, each with its truth.

    Each `for` is a pass of its own over the bag, in memory that does not grow with it. A message
    that cannot be used is counted, and the pass goes on.

    Truth is a depth image of the size and the pixels of the (rectified) image, or a projected scan
    of a LiDAR. The LiDAR's pose is read from `/tf_static`, in which the image's frame is taken for
    that of the rectified image. Scans before and after can be added up, each moved to the time of
    the image by the transforms on `/tf`; a scan beyond their times is skipped. So an
    image waits, for a bounded time, for its truth, for the scans after that, for the
    transforms of all of them, and for recorded predictions: see `StampMatcher`.

    Args:
        path: The bag, see `BagReader`.
        options: Topics, truth and preparation of the frames; the defaults without.

    Attributes:
        path: The bag.
        topics: The topics that are read.
        compressed: Whether the images are `CompressedImage`.

    Raises:
        BagError: As for `plan_frames`.
        ReplayError: As for `plan_frames`.
        TransformError: As for `plan_frames`.
    """

    def __init__(self, path: str | Path, options: FrameOptions | None = None) -> None:
        self.path = Path(path)
        self._plan = plan_frames(self.path, options or FrameOptions())
        self.topics = self._plan.topics
        self.compressed = self._plan.compressed
        self._latest = BagPass(self._plan)

    def __len__(self) -> int:
        """Return the number of images, unusable ones included."""
        return self._plan.count

    def __iter__(self) -> Iterator[BagFrame]:
        """Read the frames in the order of their recording; skip damaged ones."""
        self._latest = BagPass(self._plan)
        with BagReader(self.path) as reader:
            yield from self._latest.frames(reader)

    @property
    def rejected(self) -> dict[str, int]:
        """Number of unusable images of the latest pass, by reason."""
        return dict(self._latest.tally.rejected)

    @property
    def options(self) -> FrameOptions:
        """The options."""
        return self._plan.options

    @property
    def predictions(self) -> tuple[PlannedPrediction, ...]:
        """The topics of recorded predictions."""
        return self._plan.predictions

    @property
    def ground(self) -> Plane | None:
        """The ground in the images' optical frame, where `/tf_static` tells."""
        return self._plan.ground

    @property
    def notes(self) -> list[str]:
        """Sentences on missing truth and unusable messages of the latest pass."""
        return [*self._plan.notes, *self._latest.notes()]
