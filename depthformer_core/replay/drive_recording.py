"""The recording of a drive that is evaluated, with the transforms of its bag."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from depthformer_core.bags import BagError, BagMessage, BagReader
from depthformer_core.evaluation.frame import FrameEvaluation
from depthformer_core.evaluation.metrics import METRICS
from depthformer_core.replay.bag_pass import BagFrame
from depthformer_core.replay.frame_plan import MOVING, STATIC, transform_topics
from depthformer_core.replay.recording import RecordingWriter
from depthformer_core.types import FloatingArray

_RECORDED = (*METRICS, "scale", "coverage")


class DriveRecording:
    """Records the frames of a bag with their evaluations, and the bag's transforms.

    Use as a context manager.

    Args:
        path: The file, ending with `.mcap`.
        sources: Names of the sources.
        bag: The bag.
        farthest: Predictions were moved to this depth from beyond it; they are recorded as
            infinite (REP 117), metres.

    Raises:
        BagError: As for `RecordingWriter`.
        ReplayError: As for `RecordingWriter`.
    """

    def __init__(self, path: Path, sources: Sequence[str], *, bag: Path, farthest: float) -> None:
        self._writer = RecordingWriter(path, sources, bag=bag)
        self._bag = bag
        self._farthest = farthest
        self._stack = contextlib.ExitStack()
        self._transforms: Iterator[BagMessage] = iter(())
        self._next: BagMessage | None = None

    def __enter__(self) -> "DriveRecording":
        """Open the bag and start writing."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._writer)
            reader = stack.enter_context(BagReader(self._bag))
            for item in reader.messages(transform_topics(reader, STATIC)):
                with contextlib.suppress(BagError):
                    self._writer.add_static(item.message())
            self._transforms = reader.messages(transform_topics(reader, MOVING))
            self._next = next(self._transforms, None)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the file, or remove it after an exception."""
        self._stack.__exit__(kind, error, trace)

    def add(self, item: BagFrame, results: Mapping[str, FrameEvaluation]) -> None:
        """Write the next frame, after the transforms that were recorded before it.

        Args:
            item: The frame.
            results: The comparison of each source.
        """
        while self._next is not None and self._next.stamp <= item.recorded:
            with contextlib.suppress(BagError):
                self._writer.add_transforms(self._next.message(), stamp=self._next.stamp)
            self._next = next(self._transforms, None)
        self._writer.add_frame(
            item.stamp,
            item.frame.rgb,
            camera=item.frame.camera,
            frame_id=item.frame_id,
            truth=item.frame.depth,
            predictions={
                name: self._unclamped(result.comparison.prediction)
                for name, result in results.items()
            },
            metrics={
                name: {metric: float(result.row[metric]) for metric in _RECORDED}
                for name, result in results.items()
            },
        )

    def _unclamped(self, prediction: FloatingArray) -> FloatingArray:
        beyond = prediction >= self._farthest
        return np.where(beyond, prediction.dtype.type(np.inf), prediction)
