"""Networks that `depthformer export` wrote; no PyTorch is needed."""

import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from depthformer_core.config import DepthFormerConfig
from depthformer_core.errors import CheckpointError, DepthFormerError
from depthformer_core.inference.network import Network
from depthformer_core.inference.sessions import EXPORTED_SUFFIXES, RuntimeDevice, open_session
from depthformer_core.types import FloatArray, Rgb

CONFIG = "depthformer_config"
CHECKPOINT = "depthformer_checkpoint"
PRESET = "depthformer_preset"
PRECISION = "depthformer_precision"
NORMALIZATION = "depthformer_normalization"
WEIGHTS = "depthformer_weights"
PARAMETERS = "depthformer_parameters"
"""Names of the texts in an exported file: configuration, what the network was made from, the preset
that it is of, number format, mean and deviation of pixels, SHA-256 of the checkpoint, number of its
weights."""

DEPTH = "depth"
UNCERTAINTY = "uncertainty"
"""Names of the outputs, float32 (1, 1, H, W), metres."""


def is_exported(checkpoint: str | os.PathLike[str]) -> bool:
    """Return whether a checkpoint is the file of an exported network, by its name."""
    return Path(checkpoint).suffix in EXPORTED_SUFFIXES


class ExportedNetwork(Network):
    """A network that `depthformer export` wrote, run by ONNX Runtime or OpenVINO.

    Args:
        path: An ONNX file, or a file of OpenVINO's (.xml).
        device: See `open_session`.
        precision: `auto`, or that of the file.

    Raises:
        CheckpointError: The file is missing, or is no such network.
        DepthFormerError: The device or precision is unknown or not there.
    """

    device: RuntimeDevice
    size: tuple[int, int]

    def __init__(
        self, path: str | os.PathLike[str], *, device: str = "auto", precision: str = "auto"
    ) -> None:
        self._session = open_session(path, device=device)
        about = _About(self._session.metadata, path=str(path))
        self.device = self._session.device
        self.size = self._session.size
        self.config = about.config
        self.precision = about.text(PRECISION)
        if precision not in ("auto", self.precision):
            raise DepthFormerError(
                f"{path} computes in {self.precision}, precision {precision} was requested: export "
                f"it with --precision {precision} if that is one of float32 and float16"
            )
        self.origin = about.text(CHECKPOINT)
        self.weights_sha256 = about.text(WEIGHTS)
        self._parameter_count = about.count(PARAMETERS)
        mean, deviation = about.normalization
        # As PyTorch's networks have it: a row of pixels is one long vector.
        row = self.size[1]
        self._offset = np.tile(-mean / deviation, row)
        self._scale = np.tile(1 / deviation, row)
        self._turn = threading.Lock()

    @property
    def attention(self) -> str:
        """Implementation of its deformable attention, in words."""
        return f"exported, by {self._session.runtime}"

    @property
    def parameter_count(self) -> int:
        """Number of its weights."""
        return self._parameter_count

    def works(self) -> bool:
        """Return whether the device works."""
        if self.device.type in ("cpu", "openvino"):
            return True
        try:
            self.run(np.zeros((*self.size, 3), np.uint8))
        except Exception as error:  # noqa: BLE001  # those of a runtime have no other base
            # What lacks now may be there for the next image.
            return "memory" in str(error).lower()
        return True

    def run(self, pixels: Rgb) -> FloatArray:
        """Predict the depth of an image."""
        height, width = pixels.shape[:2]
        rows = pixels.reshape(height, -1) * self._scale
        rows += self._offset
        planes = rows.reshape(height, width, 3).transpose(2, 0, 1)
        with self._turn:
            outputs = self._session.run(np.ascontiguousarray(planes[None], np.float32))
        depth: FloatArray = outputs[DEPTH][0]
        if not self.config.uncertainty:
            return depth
        return np.concatenate((depth, outputs[UNCERTAINTY][0]))


class _About:
    """What an exported file says about its network."""

    def __init__(self, metadata: Mapping[str, str], *, path: str) -> None:
        self._metadata = metadata
        self._path = path
        try:
            self.config = DepthFormerConfig.from_dict(json.loads(self.text(CONFIG)))
        except CheckpointError:
            raise
        except ValueError as error:
            raise CheckpointError(f"{path} has a bad configuration: {error}") from error

    def text(self, name: str) -> str:
        """Return one of its texts."""
        if name not in self._metadata:
            raise CheckpointError(
                f"{self._path} is no network of `depthformer export`: its metadata lacks {name}"
            )
        return self._metadata[name]

    def count(self, name: str) -> int:
        """Return one of its numbers."""
        text = self.text(name)
        if not (text.isascii() and text.isdecimal()):
            raise CheckpointError(f"{self._path}: {name} must be a whole number, got {text!r}")
        return int(text)

    @property
    def normalization(self) -> tuple[FloatArray, FloatArray]:
        """Mean and deviation of the channels, (3,) each, of values of 0-255."""
        text = self.text(NORMALIZATION)
        try:
            values = json.loads(text)
            mean, deviation = (np.array(values[name], np.float32) for name in ("mean", "std"))
        except (ValueError, TypeError, KeyError):
            mean = deviation = np.zeros(0, np.float32)
        if mean.shape != (3,) or deviation.shape != (3,) or not (deviation > 0).all():
            raise CheckpointError(
                f"{self._path}: {NORMALIZATION} must have three of mean and std, got {text[:80]!r}"
            )
        return mean, deviation
