"""Recordings of a comparison, for tools that show drives: Foxglove, Lichtblick, Rerun, RViz."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from depthformer_core.bags import TYPESTORE
from depthformer_core.bags.errors import ReplayError
from depthformer_core.bags.mcap_writer import McapWriter
from depthformer_core.bags.message_types import TF_MESSAGE
from depthformer_core.bags.messages import (
    camera_info_message,
    coloured_cloud_message,
    compressed_message,
    depth_message,
    number_message,
    text_message,
    transforms_message,
)
from depthformer_core.evaluation.comparison import Comparison
from depthformer_core.evaluation.panels import error_panel
from depthformer_core.geometry.camera import Camera
from depthformer_core.geometry.thin_cloud import thin_cloud
from depthformer_core.types import FloatingArray, Rgb

VIEW_FRAME = "depthformer_view"
"""Frame at the camera with x forward, y left and z up, for views of any drive."""

FIRST_SOURCE = "prediction"
"""Name of the first source in a recording, whatever it is called: layouts name it."""

_TAKEN = {"image", "camera_info", "truth", "tf", "tf_static"}
# 16 bytes each.
_MOST_POINTS = 40_000
# From x forward, y left, z up to the optical frame's x right, y down, z forward.
_VIEW = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], np.float64)


def source_names(sources: Sequence[str]) -> list[str]:
    """Return the names that sources of depth have in the topics of a recording.

    The first is `prediction`. Others keep their letters and digits, all else becomes one
    underscore: `/zed/depth/depth_registered` is `zed_depth_depth_registered`. A number follows
    where a name is taken, and `source_` precedes a digit, with which no name in ROS begins.

    Args:
        sources: What users call them: topics, files of weights.
    """
    names = [FIRST_SOURCE][: len(sources)]
    for source in sources[1:]:
        name = re.sub("[^A-Za-z0-9]+", "_", source).strip("_") or "source"
        name = f"source_{name}" if name[0].isdigit() else name
        choices = [name, *(f"{name}_{number}" for number in range(2, len(sources) + 2))]
        names.append(next(choice for choice in choices if choice not in {*_TAKEN, *names}))
    return names


class RecordingWriter:
    """Writes images, true and predicted depth, clouds, errors and metrics to one MCAP file.

    Use as a context manager; as with `McapWriter`, the file appears whole or not at all. Topics
    of a source begin with its name of `source_names`. A cloud has at most 40,000 points, chosen by
    `thin_cloud`: all of a LiDAR's, a part of dense depth.

    Args:
        path: The file, ending with `.mcap`.
        sources: Names of the sources of depth.
        bag: The bag that is read, which `path` must not be or be in.

    Attributes:
        names: Name of each source in the topics.

    Raises:
        BagError: As for `McapWriter`.
        ReplayError: Sources are missing or named twice, or `path` is the bag.
    """

    def __init__(
        self, path: str | Path, sources: Sequence[str], *, bag: str | Path | None = None
    ) -> None:
        if not sources or len(set(sources)) < len(sources):
            raise ReplayError(f"a recording needs sources, each once, got {list(sources)}")
        if bag is not None:
            place, read = Path(path).resolve(), Path(bag).resolve()
            if place == read or read in place.parents:
                raise ReplayError(f"recording {path} would change the bag {bag} that is read")
        self.names = dict(zip(sources, source_names(sources), strict=True))
        self._file = McapWriter(path)
        self._static: dict[str, Any] = {}
        self._static_changed = False
        self._introduced = False

    def __enter__(self) -> "RecordingWriter":
        """Start writing beside the path."""
        self._file.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the file and move it to its path, or remove it after an exception."""
        self._file.__exit__(kind, error, trace)

    def add_static(self, message: Any) -> None:
        """Add a message of `/tf_static`; all of its transforms are written before the next frame.

        Args:
            message: Any object with the fields of `tf2_msgs/msg/TFMessage`.
        """
        for transform in message.transforms:
            self._static[transform.child_frame_id] = transform
        self._static_changed = True

    def add_transforms(self, message: Any, *, stamp: int) -> None:
        """Write a message of `/tf`.

        Args:
            message: Any object with the fields of `tf2_msgs/msg/TFMessage`.
            stamp: Time of recording, nanoseconds since the epoch.

        Raises:
            BagError: As for `McapWriter.write`.
        """
        self._write_transforms("/tf", message.transforms, stamp=stamp)

    def add_frame(
        self,
        stamp: int,
        rgb: Rgb,
        *,
        camera: Camera | None,
        frame_id: str,
        truth: FloatingArray | None,
        predictions: Mapping[str, FloatingArray | None],
        metrics: Mapping[str, Mapping[str, float]],
    ) -> None:
        """Write one image and what belongs to it.

        Args:
            stamp: When the image was taken, nanoseconds since the epoch.
            rgb: (H, W, 3).
            camera: Its camera; without one there are no clouds.
            frame_id: Frame of the camera; `camera` where it is empty.
            truth: (H, W), metres, 0 or NaN where there is none, infinite where nothing is hit.
            predictions: (H, W) of each source, metres, not finite where there is none, or no depth
                for this image; sources may be missing.
            metrics: Values of each source by name, `abs_rel`; what is not finite is left out.

        Raises:
            BagError: As for `McapWriter.write`.
            ReplayError: A source is unknown, or depth or camera is not of the image's size.
        """
        if unknown := sorted({*predictions, *metrics} - self.names.keys()):
            raise ReplayError(
                f"recording {self._file.path} has no source {', '.join(unknown)}; "
                f"it has {', '.join(self.names)}"
            )
        _check_sizes(rgb, camera, {"the truth": truth, **predictions})
        frame_id = frame_id or "camera"
        self._introduce(stamp, frame_id)
        frame = _FrameWriter(self._file, stamp, frame_id, rgb, camera)
        picture = compressed_message(rgb, "jpeg", stamp=stamp, frame_id=frame_id)
        frame.write("/image/compressed", picture)
        if camera is not None:
            info = camera_info_message(camera, stamp=stamp, frame_id=frame_id)
            frame.write("/camera_info", info)
        if truth is not None:
            frame.write_depth("/truth", np.where(truth > 0, truth, np.nan))
        for source, prediction in predictions.items():
            name = self.names[source]
            if prediction is None:
                continue
            frame.write_depth(f"/{name}", prediction)
            if truth is not None:
                frame.write_error(f"/{name}", truth, prediction)
        for source, values in metrics.items():
            for metric, value in values.items():
                if math.isfinite(value):
                    topic = f"/{self.names[source]}/metrics/{metric}"
                    frame.write(topic, number_message(value))

    def _introduce(self, stamp: int, frame_id: str) -> None:
        """Write, before the first frame, what holds for all; later what of it has changed."""
        if not self._introduced:
            view = transforms_message([(frame_id, VIEW_FRAME, _VIEW)], stamp=stamp)
            self.add_static(view)
            for source, name in self.names.items():
                message = text_message(source)
                self._file.write(f"/{name}/source", message, stamp=stamp, latched=True)
            self._introduced = True
        if self._static_changed:
            self._write_transforms("/tf_static", list(self._static.values()), stamp=stamp)
            self._static_changed = False

    def _write_transforms(self, topic: str, transforms: list[Any], *, stamp: int) -> None:
        message = TYPESTORE.types[TF_MESSAGE](transforms=transforms)
        self._file.write(topic, message, stamp=stamp, latched=topic == "/tf_static")


class _FrameWriter:
    """Writes the messages of one image."""

    def __init__(
        self, file: McapWriter, stamp: int, frame_id: str, rgb: Rgb, camera: Camera | None
    ) -> None:
        self._file = file
        self._stamp = stamp
        self._frame_id = frame_id
        self._rgb = rgb
        self._camera = camera

    def write(self, topic: str, message: object) -> None:
        self._file.write(topic, message, stamp=self._stamp)

    def write_depth(self, name: str, depth: FloatingArray) -> None:
        """Write depth (H, W) and, where there is a camera, its cloud."""
        depth = depth.astype(np.float32, copy=False)
        message = depth_message(depth, stamp=self._stamp, frame_id=self._frame_id)
        self.write(f"{name}/depth", message)
        if self._camera is None:
            return
        points, colours = thin_cloud(depth, self._rgb, self._camera, most=_MOST_POINTS)
        cloud = coloured_cloud_message(points, colours, stamp=self._stamp, frame_id=self._frame_id)
        self.write(f"{name}/points", cloud)

    def write_error(self, name: str, truth: FloatingArray, prediction: FloatingArray) -> None:
        """Write the picture of prediction over truth."""
        solid = np.isfinite(prediction) & (prediction > 0)
        comparison = Comparison(
            file="",
            rgb=self._rgb,
            truth=truth,
            prediction=np.where(solid, prediction, np.nan),
            valid=np.isfinite(truth) & (truth > 0),
        )
        picture = compressed_message(
            error_panel(comparison), "png", stamp=self._stamp, frame_id=self._frame_id
        )
        self.write(f"{name}/error/compressed", picture)


def _check_sizes(
    rgb: Rgb, camera: Camera | None, depths: Mapping[str, FloatingArray | None]
) -> None:
    height, width = rgb.shape[:2]
    sizes = {name: depth.shape for name, depth in depths.items() if depth is not None}
    if camera is not None:
        sizes["the camera"] = (camera.height, camera.width)
    for name, size in sizes.items():
        if size != (height, width):
            raise ReplayError(f"{name} has size {size}, the image {(height, width)}")
