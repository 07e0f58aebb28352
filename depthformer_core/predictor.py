"""From a camera image to metric depth on its own pixels."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from depthformer_core.checkpoint import CheckpointError, load_checkpoint
from depthformer_core.config import Crop
from depthformer_core.crop import crop_window
from depthformer_core.device import Precision, resolve_device, resolve_precision
from depthformer_core.models import DepthFormer, create_model
from depthformer_core.normalize import normalize
from depthformer_core.presets import PRESETS


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
        self.device = resolve_device(device)
        self.precision: Precision = resolve_precision(precision, self.device)
        self.config = model.config
        self.crop: Crop = model.config.crop if crop is None else crop
        crop_window(self.crop, height=1, width=1)
        self.flip = flip
        self.checkpoint = checkpoint
        self.trained = trained
        self.model = model.to(self.device).eval()

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
            image = normalize(pixels)
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
