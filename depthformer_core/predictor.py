"""From a camera image to metric depth on its own pixels."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from depthformer_core.checkpoint import CheckpointError, load_checkpoint
from depthformer_core.config import Crop
from depthformer_core.crop import crop_window
from depthformer_core.models import DepthFormer, create_model
from depthformer_core.presets import PRESETS

Precision = Literal["float32", "bfloat16"]

# ImageNet's statistics on values of 0-255, as the release normalises.
_MEAN = (123.675, 116.28, 103.53)
_DEVIATION = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class Prediction:
    """Depth of one image.

    Attributes:
        depth: float32 (H, W), metres along the optical axis; NaN outside the network's crop.
        uncertainty: With flip augmentation, half the difference of the two passes: float32
            (H, W), metres, NaN as in `depth`. None without.
    """

    depth: npt.NDArray[np.float32]
    uncertainty: npt.NDArray[np.float32] | None

    @property
    def valid(self) -> npt.NDArray[np.bool_]:
        """Where there is an estimate, (H, W)."""
        return np.isfinite(self.depth)


class DepthPredictor:
    """A network, where and how precisely it runs, and the way of an image through it.

    Args:
        model: The network; it is moved to the device and put in evaluation mode.
        device: `auto` (the first CUDA device, else the CPU), `cpu`, `cuda` or `cuda:N`.
        precision: `float32`, `bfloat16` (depth and coordinates stay float32) or `auto`: bfloat16
            on a GPU that computes in it, else float32.
        crop: Part of the image the network reads; None for the part it was trained on.
        flip: Whether to average with the prediction of the mirrored image.
        checkpoint: What the network was made from, for reports.
        trained: Whether its weights were trained.

    Raises:
        ValueError: The device or an option is unknown or not there.
    """

    def __init__(
        self,
        model: DepthFormer,
        *,
        device: str = "auto",
        precision: str = "auto",
        crop: Crop | None = None,
        flip: bool = False,
        checkpoint: str = "",
        trained: bool = True,
    ) -> None:
        self.device = _resolve_device(device)
        self.precision: Precision = _resolve_precision(precision, self.device)
        self.config = model.config
        self.crop: Crop = model.config.crop if crop is None else crop
        crop_window(self.crop, height=1, width=1)
        self.flip = flip
        self.checkpoint = checkpoint
        self.trained = trained
        self.model = model.to(self.device).eval()
        self._mean = torch.tensor(_MEAN, device=self.device).view(3, 1, 1)
        self._deviation = torch.tensor(_DEVIATION, device=self.device).view(3, 1, 1)

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: str | os.PathLike[str],
        *,
        device: str = "auto",
        precision: str = "auto",
        crop: Crop | None = None,
        flip: bool = False,
    ) -> "DepthPredictor":
        """Load a predictor.

        Args:
            checkpoint: A safetensors file, or the name of a preset: that network with random
                weights, the same ones each time, and `trained` False.
            device: As in the constructor.
            precision: As in the constructor.
            crop: As in the constructor.
            flip: As in the constructor.

        Raises:
            CheckpointError: The checkpoint cannot be loaded.
            ValueError: The device or an option is unknown or not there.
        """
        name = os.fspath(checkpoint)
        trained = name not in PRESETS
        if trained:
            if not Path(name).is_file():
                raise CheckpointError(
                    f"no checkpoint at {name}; it is no preset either ({', '.join(PRESETS)})"
                )
            model = load_checkpoint(name)
        else:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                model = create_model(name)
        return cls(
            model,
            device=device,
            precision=precision,
            crop=crop,
            flip=flip,
            checkpoint=name,
            trained=trained,
        )

    def predict(self, rgb: npt.NDArray[np.uint8]) -> Prediction:
        """Estimate the depth of an image.

        Args:
            rgb: uint8 (H, W, 3), RGB, rectified.

        Returns:
            Depth on the image's own pixels.

        Raises:
            ValueError: The image has another type or shape.
        """
        if not isinstance(rgb, np.ndarray) or rgb.dtype != np.uint8:
            kind = rgb.dtype if isinstance(rgb, np.ndarray) else type(rgb).__name__
            raise ValueError(f"image must be a uint8 array, got {kind}")
        if rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
            raise ValueError(f"image must have shape (H, W, 3), got {rgb.shape}")
        window = crop_window(self.crop, height=rgb.shape[0], width=rgb.shape[1])
        with torch.inference_mode():
            pixels = torch.from_numpy(np.ascontiguousarray(rgb[window.slices])).to(self.device)
            image = (pixels.permute(2, 0, 1).float() - self._mean) / self._deviation
            depth = self._run(image)
            spread = None
            if self.flip:
                mirrored = self._run(image.flip(-1)).flip(-1)
                spread = ((depth - mirrored).abs() / 2).cpu().numpy()
                depth = (depth + mirrored) / 2
            estimate = depth.cpu().numpy()
        shape = rgb.shape[:2]

        def place(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
            if values.shape == shape:
                return values
            whole = np.full(shape, np.nan, np.float32)
            whole[window.slices] = values
            return whole

        return Prediction(place(estimate), None if spread is None else place(spread))

    def _run(self, image: Tensor) -> Tensor:
        """Depth (H, W) of a normalised image (3, H, W), metres."""
        half = self.precision == "bfloat16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=half):
            depth: Tensor = self.model(image[None])
        return depth[0, 0]


def _resolve_device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError:
        resolved = None
    if resolved is None or resolved.type not in ("cpu", "cuda"):
        raise ValueError(f"device must be auto, cpu, cuda or cuda:N, got {device!r}")
    if resolved.type == "cuda":
        count = torch.cuda.device_count()
        if (resolved.index or 0) >= count:
            raise ValueError(f"device {device!r} asked for, but PyTorch sees {count} CUDA devices")
    return resolved


def _resolve_precision(precision: str, device: torch.device) -> Precision:
    if precision == "auto":
        # The GPUs before Ampere only emulate bfloat16.
        ampere = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
        return "bfloat16" if ampere else "float32"
    choices: tuple[Precision, ...] = get_args(Precision)
    for choice in choices:
        if precision == choice:
            return choice
    raise ValueError(f"precision must be auto or one of {choices}, got {precision!r}")
