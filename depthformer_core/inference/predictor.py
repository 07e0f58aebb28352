"""Prediction of metric depth on the pixels of a camera image."""

import contextlib
import os
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import cv2
import numpy as np
import torch
from torch import Tensor

from depthformer_core.calibration.calibration_file import (
    DepthCalibration,
    NetworkView,
    read_calibration,
)
from depthformer_core.checkpoint import CheckpointError, conversion_note, load_checkpoint
from depthformer_core.compiling import compile_network
from depthformer_core.config import Crop, Focal
from depthformer_core.device import (
    Precision,
    cudnn_flags,
    resolve_device,
    resolve_precision,
)
from depthformer_core.errors import DepthFormerError
from depthformer_core.geometry.camera import Camera
from depthformer_core.inference.crop import Window, crop_window
from depthformer_core.inference.cuda_graphs import CudaGraphs
from depthformer_core.inference.focal import assumed_camera, fitted_size
from depthformer_core.inference.normalize import normalize
from depthformer_core.inference.rotate import ROTATIONS, Rotation, rotate_image
from depthformer_core.inference.unseen import unseen_pixels
from depthformer_core.inference.view import View, trained_view
from depthformer_core.models import DepthFormer, create_model, freeze
from depthformer_core.presets import PRESETS
from depthformer_core.types import BoolArray, FloatArray, Rgb
from depthformer_core.weights import SHIPPED, SHIPPED_NOTES

_TYPES: dict[Precision, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
}


@dataclass(frozen=True)
class Prediction:
    """Depth of one image.

    Attributes:
        depth: float32 (H, W), metres along the optical axis; NaN outside the network's crop, and
            where the camera saw nothing, see `unseen_pixels`.
        uncertainty: Scale of a Laplace distribution around the depth, where the network predicts
            one; else, with flip augmentation, half the difference of the two passes: float32
            (H, W), metres, NaN as in `depth`. None where there is neither.
        nonfinite_count: Values of `depth` that are NaN because the network's output is not finite.
        network_seconds: Time of the network, until its prediction was in main memory.
    """

    depth: FloatArray
    uncertainty: FloatArray | None
    nonfinite_count: int = 0
    network_seconds: float = 0.0

    @property
    def valid(self) -> BoolArray:
        """Pixels with a prediction, (H, W)."""
        return np.isfinite(self.depth)

    def without(self, hidden: BoolArray) -> "Prediction":
        """Return the prediction with NaN at the hidden pixels, (H, W)."""
        depth, uncertainty, nan = self.depth, self.uncertainty, np.float32(np.nan)
        if uncertainty is not None:
            uncertainty = np.where(hidden, nan, uncertainty)
        return replace(self, depth=np.where(hidden, nan, depth), uncertainty=uncertainty)

    @property
    def spoiled(self) -> int:
        """Deprecated name of `nonfinite_count`."""
        _warn_renamed("Prediction.spoiled", "nonfinite_count")
        return self.nonfinite_count


class DepthPredictor:
    """A network on a device, with the pre- and post-processing of its images.

    Args:
        model: The network; it is moved to the device and put in evaluation mode.
        device: `auto` (the first CUDA device, else the CPU), `cpu`, `cuda` or `cuda:N`.
        precision: `float32`, `bfloat16` (depth and coordinates stay float32) or `auto`: bfloat16
            on a GPU or a processor that computes in it, else float32.
        crop: Part of the image the network reads, see `DepthFormerConfig`; `auto` or None for the
            network's own. `view` holds where images are resized to the network's focal length, else
            it is everything.
        focal: Handling of images of another focal length than the network's: `resize` resizes them
            to it, `scale` multiplies the depth by the ratio, `none` changes neither. A network of
            unknown focal length always has `none`.
        flip: Whether to average with the prediction of the mirrored image.
        rotate: Degrees clockwise, 0, 90, 180 or 270, by which images become upright, of a camera
            that is mounted upside down or sideways. The network reads them upright; images, cameras
            and depth of the methods are all in the camera's own pixels.
        compile: Whether `torch.compile` makes kernels for the network. It needs a compiler and,
            for the first image of each size, minutes.
        cuda_graphs: Whether a GPU launches the network as one CUDA graph for each size of image,
            see `CudaGraphs`. Its weights must stay at the same place in memory afterwards.
        checkpoint: What the network was made from, for reports.
        trained: Whether its weights were trained.
        calibration: Correction of its depth on one camera, see `read_calibration`; every image must
            then come with that camera.

    Attributes:
        shipped: Whether its weights are those that come with the package.
        note: Note for users of such weights, in a sentence; empty if there is none.

    Raises:
        DepthFormerError: The device or an option is unknown or not there, or the calibration is for
            another checkpoint.
    """

    def __init__(
        self,
        model: DepthFormer,
        *,
        device: str = "auto",
        precision: str = "auto",
        crop: Crop | Literal["auto"] | None = None,
        focal: Focal = "resize",
        flip: bool = False,
        rotate: Rotation = 0,
        compile: bool = False,
        cuda_graphs: bool = False,
        checkpoint: str = "",
        trained: bool = True,
        calibration: DepthCalibration | None = None,
    ) -> None:
        self.device = resolve_device(device)
        self.precision: Precision = resolve_precision(precision, self.device)
        self.config = model.config
        self.crop: Crop = model.config.crop if crop is None or crop == "auto" else crop
        if self.crop not in get_args(Crop):
            raise DepthFormerError(f"crop must be one of {get_args(Crop)}, got {self.crop!r}")
        if self.crop == "view" and self.config.image_height is None:
            raise DepthFormerError(
                "crop 'view' needs a network that knows the size of its training images: its "
                "configuration has no image_height"
            )
        if focal not in get_args(Focal):
            raise DepthFormerError(f"focal must be one of {get_args(Focal)}, got {focal!r}")
        self.focal: Focal = "none" if self.config.focal_length is None else focal
        self.flip = flip
        if rotate not in ROTATIONS:
            raise DepthFormerError(f"rotate must be one of {ROTATIONS}, got {rotate!r}")
        self.rotate = rotate
        self.checkpoint = checkpoint
        self.trained = trained
        if calibration is not None:
            calibration.check_checkpoint(checkpoint)
        self.calibration = calibration
        self.shipped = checkpoint in SHIPPED
        self.note = SHIPPED_NOTES.get(checkpoint) or conversion_note(Path(checkpoint))
        self.model = model.to(self.device).eval()
        self._network: Callable[[Tensor], Tensor] = self.model
        if compile:
            self._network = compile_network(self.model, fullgraph=True)
        self._cuda_graphs = cuda_graphs and self.device.type == "cuda"
        self._run: Callable[[Tensor], Tensor] = self._forward
        if self._cuda_graphs:
            self._run = CudaGraphs(self._forward)
        # A graph has one place for its output, and the flags of cuDNN are those of the process: no
        # other thread may use a GPU until the output is copied.
        self._turn = threading.Lock() if self.device.type == "cuda" else contextlib.nullcontext()

    @property
    def view(self) -> NetworkView:
        """How the network reads images, as a calibration names it."""
        return NetworkView(crop=self.crop, focal=self.focal, flip=self.flip, rotate=self.rotate)

    @property
    def max_depth(self) -> float:
        """Farthest depth that it predicts, metres: the network's, corrected by the calibration."""
        if self.calibration is None:
            return self.config.max_depth
        farthest = np.full(1, self.config.max_depth, np.float32)
        return float(self.calibration.correction.apply(farthest)[0])

    @property
    def has_uncertainty(self) -> bool:
        """Whether predictions have an uncertainty: of the network's own, or by `flip`."""
        return self.flip or self.config.uncertainty

    @property
    def gives_uncertainty(self) -> bool:
        """Deprecated name of `has_uncertainty`."""
        _warn_renamed("DepthPredictor.gives_uncertainty", "has_uncertainty")
        return self.has_uncertainty

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: str | os.PathLike[str] = "small",
        *,
        device: str = "auto",
        precision: str = "auto",
        crop: Crop | Literal["auto"] | None = None,
        focal: Focal = "resize",
        flip: bool = False,
        rotate: Rotation = 0,
        compile: bool = False,
        calibration: DepthCalibration | str | os.PathLike[str] | None = None,
    ) -> "DepthPredictor":
        """Load a predictor with a network for inference alone, see `freeze`.

        Args:
            checkpoint: A safetensors file, one of the official release's (.pth) that holds its
                configuration, or the name of a preset: of `small` and `small_kitti`, the weights
                that come with the package; of another, random weights, the same ones each time,
                and `trained` False.
            device: As in the constructor.
            precision: As in the constructor.
            crop: As in the constructor.
            focal: As in the constructor.
            flip: As in the constructor.
            rotate: As in the constructor.
            compile: As in the constructor.
            calibration: As in the constructor, or its file.

        Raises:
            CheckpointError: The checkpoint cannot be loaded.
            ValueError: The device or an option is unknown or not there, or the calibration cannot
                be read or is for another checkpoint.
        """
        if calibration is not None and not isinstance(calibration, DepthCalibration):
            calibration = read_calibration(calibration)
        target = resolve_device(device)
        dtype = _TYPES[resolve_precision(precision, target)]
        name = os.fspath(checkpoint)
        trained = name in SHIPPED or name not in PRESETS
        if trained:
            path = SHIPPED.get(name, Path(name))
            if not path.is_file():
                raise CheckpointError(
                    f"no checkpoint at {path}; it is no preset either ({', '.join(PRESETS)})"
                )
            model = load_checkpoint(path)
        else:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                model = create_model(name)
        return cls(
            freeze(model, device=target, dtype=dtype),
            device=device,
            precision=precision,
            crop=crop,
            focal=focal,
            flip=flip,
            rotate=rotate,
            compile=compile,
            cuda_graphs=True,
            checkpoint=name,
            trained=trained,
            calibration=calibration,
        )

    def predict_depth(self, rgb: Rgb, camera: Camera | None = None) -> FloatArray:
        """Predict depth alone, as an evaluation takes it: see `predict`."""
        return self.predict(rgb, camera).depth

    def predict(self, rgb: Rgb, camera: Camera | None = None) -> Prediction:
        """Predict the depth of an image.

        Args:
            rgb: uint8 (H, W, 3), RGB, rectified; black borders are what the camera never saw.
            camera: Its camera; without, the image is taken to have the horizontal field of view
                of those the network was trained on, see `assumed_camera`.

        Returns:
            Depth on the image's own pixels.

        Raises:
            ValueError: The image has another type or shape, or another size than its camera's; or
                the network is to be compiled and cannot be; or the calibration is for another
                camera, or another way to read its images.
        """
        if not isinstance(rgb, np.ndarray) or rgb.dtype != np.uint8:
            kind = rgb.dtype if isinstance(rgb, np.ndarray) else type(rgb).__name__
            raise DepthFormerError(f"image must be a uint8 array, got {kind}")
        if rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
            raise DepthFormerError(f"image must have shape (H, W, 3), got {rgb.shape}")
        height, width = rgb.shape[:2]
        if self.calibration is not None:
            self.calibration.check(camera, self.view)
        if camera is not None and (camera.height, camera.width) != (height, width):
            raise DepthFormerError(
                f"image has size {width}x{height}, its camera {camera.width}x{camera.height}"
            )
        rgb = rotate_image(rgb, self.rotate)
        height, width = rgb.shape[:2]
        if camera is None:
            camera = assumed_camera(self.config, height=height, width=width)
        else:
            camera = camera.rotated(self.rotate)
        view = self._view(camera, (height, width))
        size, window, margins, factor = view
        # The window in the original image.
        shown = window.scaled(height / size[0], width / size[1])
        pixels = torch.from_numpy(view.image(rgb))
        with self._turn, torch.inference_mode():
            image = normalize(self._send(pixels))
            start = time.perf_counter()
            maps = self._run(image)
            if self.flip:
                # A CUDA graph overwrites its last output.
                maps = maps.clone()
                mirrored = self._run(image.flip(-1)).flip(-1)
                mean = (maps + mirrored) / 2
                if not self.config.uncertainty:
                    mean = torch.cat((mean, (maps - mirrored).abs() / 2))
                maps = mean
            outputs = self._receive(maps).numpy()
            seconds = time.perf_counter() - start
        inside = Window(margins.top, margins.left, window.height, window.width).slices

        def place(output: FloatArray) -> tuple[FloatArray, int]:
            values = _resize_map(output[inside], (shown.height, shown.width))
            if factor != 1:
                values = values * np.float32(factor)
            nonfinite_count = 0
            # One NaN makes both NaN.
            if not np.isfinite((values.min(), values.max())).all():
                known = np.isfinite(values)
                nonfinite_count = int(values.size - np.count_nonzero(known))
                values = np.where(known, values, np.float32(np.nan))
            if values.shape == (height, width):
                return values, nonfinite_count
            whole = np.full((height, width), np.nan, np.float32)
            whole[shown.slices] = values
            return whole, nonfinite_count

        depth_map, nonfinite_count = place(outputs[0])
        uncertainty = place(outputs[1])[0] if len(outputs) > 1 else None
        unseen = unseen_pixels(rgb)
        if unseen is not None:
            depth_map = np.where(unseen, np.float32(np.nan), depth_map)
            if uncertainty is not None:
                uncertainty = np.where(unseen, np.float32(np.nan), uncertainty)
        depth_map = rotate_image(depth_map, -self.rotate)
        if uncertainty is not None:
            uncertainty = rotate_image(uncertainty, -self.rotate)
        if self.calibration is not None:
            depth_map, uncertainty = self.calibration.apply(depth_map, uncertainty)
        return Prediction(depth_map, uncertainty, nonfinite_count, seconds)

    def coverage(self, camera: Camera) -> float:
        """Return the share of a camera's image that the network reads and predicts depth for.

        Raises:
            ValueError: The network cannot read images of that camera.
        """
        camera = camera.rotated(self.rotate)
        view = self._view(camera, (camera.height, camera.width))
        return view.window.height * view.window.width / (view.size[0] * view.size[1])

    def outside_view(self, camera: Camera) -> float:
        """Return the share of that part outside the field of view of the training images.

        It is 0 where that field of view is unknown.

        Raises:
            ValueError: The network cannot read images of that camera.
        """
        config = self.config
        if None in (config.focal_length, config.image_height, config.image_width):
            return 0.0
        camera = camera.rotated(self.rotate)
        read = self._view(camera, (camera.height, camera.width))
        known = trained_view(camera, config)
        scale = known.size[0] / read.size[0], known.size[1] / read.size[1]
        part = read.window.scaled(*scale)
        inside = part.overlap(known.window)
        return 1 - inside / (part.height * part.width)

    def _view(self, camera: Camera | None, size: tuple[int, int]) -> View:
        config = self.config
        if camera is None or config.focal_length is None or self.focal == "none":
            return View(size, self._fixed_window(size))
        if self.focal == "scale":
            ratio = camera.fx / config.focal_length
            return View(size, self._fixed_window(size), factor=ratio)
        if self.crop == "view":
            return trained_view(camera, config)
        size = fitted_size(camera, config.focal_length)
        return View(size, self._fixed_window(size))

    def _fixed_window(self, size: tuple[int, int]) -> Window:
        # Without a focal length, the field of view of the training images is unknown.
        crop = "none" if self.crop == "view" else self.crop
        return crop_window(crop, height=size[0], width=size[1])

    def _send(self, pixels: Tensor) -> Tensor:
        """Copy an image to the device."""
        if self.device.type == "cuda":
            # From pinned memory the copy does not block.
            pixels = pixels.pin_memory()
        return pixels.to(self.device, non_blocking=True)

    def _receive(self, maps: Tensor) -> Tensor:
        """Copy float32 maps to main memory, once they are computed."""
        if self.device.type == "cpu":
            return maps
        received = torch.empty(maps.shape, dtype=maps.dtype, pin_memory=True)
        received.copy_(maps, non_blocking=True)
        torch.cuda.current_stream(self.device).synchronize()
        return received

    def _forward(self, image: Tensor) -> Tensor:
        """Predict depth and, if the network has it, scale (1 or 2, H, W), metres."""
        dtype = _TYPES[self.precision]
        exact = dtype == torch.float32
        with (
            # TensorFloat-32 would round float32.
            cudnn_flags(self.device, allow_tf32=not exact),
            # Autocast's cache would be freed before a graph that reads it is replayed.
            torch.autocast(
                self.device.type,
                dtype=dtype,
                enabled=not exact,
                cache_enabled=not self._cuda_graphs,
            ),
        ):
            maps = self._network(image[None])
        return maps[0]


def _warn_renamed(before: str, now: str) -> None:
    warnings.warn(f"{before} is called {now} now", DeprecationWarning, stacklevel=3)


def _resize_map(output: FloatArray, size: tuple[int, int]) -> FloatArray:
    """Resize a map (h, w) to a height and width."""
    if output.shape == size:
        return output
    resized = cv2.resize(output, size[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, np.float32)
