"""Prediction of metric depth on the pixels of a camera image."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import cv2
import numpy as np

from depthformer_core.calibration.calibration_file import (
    DepthCalibration,
    NetworkView,
    checkpoint_sha256,
    read_calibration,
)
from depthformer_core.checkpoint.file_kind import conversion_note
from depthformer_core.config import Crop, Focal
from depthformer_core.errors import DepthFormerError
from depthformer_core.geometry.camera import Camera
from depthformer_core.inference.crop import Window, crop_window
from depthformer_core.inference.exported_network import ExportedNetwork, is_exported
from depthformer_core.inference.focal import assumed_camera, fitted_size
from depthformer_core.inference.network import Device, Network
from depthformer_core.inference.prediction import Prediction, warn_renamed
from depthformer_core.inference.rotate import ROTATIONS, Rotation, rotate_image
from depthformer_core.inference.unseen import unseen_pixels
from depthformer_core.inference.view import View, trained_view
from depthformer_core.presets import PRESETS
from depthformer_core.pytorch import needing_pytorch
from depthformer_core.types import FloatArray, Rgb
from depthformer_core.weights import SHIPPED, SHIPPED_NOTES

if TYPE_CHECKING:
    from depthformer_core.models import DepthFormer

__all__ = ["DepthPredictor", "Prediction"]


class DepthPredictor:
    """A network on a device, with the pre- and post-processing of its images.

    Args:
        model: The network; it is moved to the device and put in evaluation mode. Or one that a
            runtime has opened, whose device and precision are its own.
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
        model: "DepthFormer | Network",
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
        if not isinstance(model, Network):
            from depthformer_core.inference.torch_network import TorchNetwork

            model = TorchNetwork(
                model,
                device=device,
                precision=precision,
                compile=compile,
                cuda_graphs=cuda_graphs,
            )
        self.network = model
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
            calibration.check_checkpoint(checkpoint, sha256=self.network.weights_sha256)
        self.calibration = calibration
        origin = self.network.origin or checkpoint
        self.shipped = origin in SHIPPED
        self.note = SHIPPED_NOTES.get(origin) or conversion_note(Path(checkpoint))

    @property
    def device(self) -> Device:
        """Where the network runs."""
        return self.network.device

    @property
    def precision(self) -> str:
        """Number format of the network's computation."""
        return self.network.precision

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the file that has the weights, or that an exported network was made from.

        Raises:
            CalibrationError: They are of no file.
        """
        return self.network.weights_sha256 or checkpoint_sha256(self.checkpoint)

    @property
    def model(self) -> "DepthFormer":
        """The network of PyTorch.

        Raises:
            DepthFormerError: It is an exported one.
        """
        model: DepthFormer | None = getattr(self.network, "model", None)
        if model is None:
            raise DepthFormerError(f"{self.checkpoint} is exported: it has no model of PyTorch")
        return model

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
        warn_renamed("DepthPredictor.gives_uncertainty", "has_uncertainty")
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
                and `trained` False. Or a file of `depthformer export` (.onnx), or what OpenVINO
                made of it (.xml): PyTorch is not even imported then.
            device: As in the constructor; of an exported network, as for `open_session`.
            precision: As in the constructor; of an exported network, `auto` or its own.
            crop: As in the constructor.
            focal: As in the constructor.
            flip: As in the constructor.
            rotate: As in the constructor.
            compile: As in the constructor.
            calibration: As in the constructor, or its file.

        Raises:
            CheckpointError: The checkpoint cannot be loaded, or needs PyTorch, which is not there.
            ValueError: The device or an option is unknown or not there, or the calibration cannot
                be read or is for another checkpoint.
        """
        if calibration is not None and not isinstance(calibration, DepthCalibration):
            calibration = read_calibration(calibration)
        name = os.fspath(checkpoint)
        network: Network
        if is_exported(name):
            if compile:
                raise DepthFormerError(f"{name} is exported: compile must be false")
            network = ExportedNetwork(name, device=device, precision=precision)
            trained = network.origin in SHIPPED or network.origin not in PRESETS
        else:
            with needing_pytorch(name):
                from depthformer_core.inference.torch_network import load_torch_network

            network, trained = load_torch_network(
                name, device=device, precision=precision, compile=compile
            )
        return cls(
            network,
            crop=crop,
            focal=focal,
            flip=flip,
            rotate=rotate,
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
        pixels = view.image(rgb)
        self._check_size(pixels.shape[:2])
        start = time.perf_counter()
        outputs = self.network.run(pixels)
        if self.flip:
            mirrored = self.network.run(np.ascontiguousarray(pixels[:, ::-1]))[..., ::-1]
            half = np.float32(0.5)
            means = [half * (outputs + mirrored)]
            if not self.config.uncertainty:
                means.append(half * np.abs(outputs - mirrored))
            outputs = np.concatenate(means)
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

    def check_camera(self, camera: Camera) -> None:
        """Check that the network reads images of a camera: an exported one has one size.

        Raises:
            ValueError: It does not.
        """
        camera = camera.rotated(self.rotate)
        view = self._view(camera, (camera.height, camera.width))
        above, below, before, after = view.margins
        self._check_size((view.window.height + above + below, view.window.width + before + after))

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

    def _check_size(self, size: tuple[int, ...]) -> None:
        """Refuse an image of another size than that an exported network reads."""
        if self.network.size in (None, size):
            return
        rows, columns = self.network.size
        raise DepthFormerError(
            f"{self.checkpoint} reads images of {columns}x{rows} pixels alone, and would have to "
            f"read one of {size[1]}x{size[0]} from this camera with crop {self.crop} and focal "
            f"{self.focal}: export its checkpoint for that, depthformer export CHECKPOINT "
            f"{self.checkpoint} --size {size[0]} {size[1]}"
        )


def _resize_map(output: FloatArray, size: tuple[int, int]) -> FloatArray:
    """Resize a map (h, w) to a height and width."""
    if output.shape == size:
        return output
    resized = cv2.resize(output, size[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, np.float32)
