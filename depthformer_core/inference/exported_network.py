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

_PRECISIONS = ("float32", "float16", "bfloat16")
_MOST_DIGITS = 19  # of a number


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
        self._maps = (DEPTH, UNCERTAINTY) if self.config.uncertainty else (DEPTH,)
        self._path = str(path)
        self.precision = about.text(PRECISION)
        if self.precision not in _PRECISIONS:
            raise CheckpointError(
                f"{path}: {PRECISION} must be one of {', '.join(_PRECISIONS)}, got "
                f"{self.precision[:80]!r}"
            )
        if precision not in ("auto", self.precision):
            raise DepthFormerError(
                f"{path} computes in {self.precision}, precision {precision} was requested: take "
                "precision auto, or export it in another"
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
        maps = [outputs[name] for name in self._maps if name in outputs]
        right = [one.dtype == np.float32 and one.shape == (1, 1, height, width) for one in maps]
        if len(maps) != len(self._maps) or not all(right):
            found = ", ".join(f"{name} {one.dtype} {one.shape}" for name, one in outputs.items())
            raise CheckpointError(
                f"{self._path} must have the outputs {' and '.join(self._maps)}, float32 "
                f"(1, 1, {height}, {width}), got {found}: write it by `depthformer export`"
            )
        return np.concatenate(maps)[:, 0]


class _About:
    """What an exported file says about its network."""

    def __init__(self, metadata: Mapping[str, str], *, path: str) -> None:
        self._metadata = metadata
        self._path = path
        try:
            self.config = DepthFormerConfig.from_dict(json.loads(self.text(CONFIG)))
        except CheckpointError:
            raise
        except (ValueError, RecursionError) as error:
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
        if not (text.isascii() and text.isdecimal() and len(text) < _MOST_DIGITS):
            raise CheckpointError(f"{self._path}: {name} must be a whole number, got {text[:80]!r}")
        return int(text)

    @property
    def normalization(self) -> tuple[FloatArray, FloatArray]:
        """Mean and deviation of the channels, (3,) each, of values of 0-255."""
        text = self.text(NORMALIZATION)
        try:
            values = json.loads(text)
            mean, deviation = (np.array(values[name], np.float32) for name in ("mean", "std"))
        except (ValueError, TypeError, KeyError, RecursionError):
            mean = deviation = np.zeros(0, np.float32)
        shaped = mean.shape == deviation.shape == (3,)
        if not (shaped and np.isfinite((mean, deviation)).all() and (deviation > 0).all()):
            raise CheckpointError(
                f"{self._path}: {NORMALIZATION} must have three numbers as mean and three "
                f"positive ones as std, got {text[:80]!r}"
            )
        return mean, deviation
