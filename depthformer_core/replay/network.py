"""The network that reads the images of a bag."""

import functools
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from depthformer_core.config import Crop, Focal
from depthformer_core.inference.exported_network import is_exported
from depthformer_core.inference.rotate import Rotation
from depthformer_core.paths import user_path
from depthformer_core.presets import PRESETS
from depthformer_core.pytorch import needing_pytorch

if TYPE_CHECKING:
    from depthformer_core.inference.predictor import DepthPredictor


@dataclass(frozen=True)
class NetworkOptions:
    """The network, unless a running node has its own."""

    checkpoint: str | None = None
    """A safetensors file, one of the official release, or an exported network (.onnx); small, or
    small_kitti for streets like KITTI's, for weights that come with the package; or another
    preset's name (random weights). small by default, and no network beside recorded
    predictions."""
    crop: Literal["auto"] | Crop = "auto"
    """Part of the image that is read: the bottom 352 rows and middle 1216 columns (kitti), what
    lies in the field of view of the training images (view), all (none), or the network's own
    (auto)."""
    focal: Focal = "resize"
    """Handling of images of another focal length than the network's: resize them, scale the
    depth, or none."""
    flip: bool = False
    """Average with the prediction of the mirrored image."""
    rotate: Rotation = 0
    """Degrees clockwise by which images become upright, of a camera that is mounted upside down or
    sideways; depth is that of the images as they are."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N; of an exported network tensorrt or openvino too."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the computation."""
    calibration: str | None = None
    """File of `depthformer calibrate`, which corrects the depth; other cameras, checkpoints, crop,
    focal, flip and rotate are refused."""

    @property
    def name(self) -> str:
        """The network's name among the sources."""
        name = self.checkpoint or "small"
        return name if name in PRESETS else Path(name).stem

    @property
    def source(self) -> str:
        """The network's name as a preset, or its absolute path."""
        name = self.checkpoint or "small"
        return name if name in PRESETS else str(user_path(name))

    def import_runtime(self) -> None:
        """Import what runs the network, which takes seconds.

        Raises:
            CheckpointError: It needs PyTorch, which is not there.
        """
        if is_exported(self.source):
            importlib.import_module("depthformer_core.inference.predictor")
        else:
            with needing_pytorch(self.source):
                importlib.import_module("depthformer_core.inference.torch_network")

    @property
    def calibration_file(self) -> Path | None:
        """The calibration's absolute path."""
        return None if self.calibration is None else user_path(self.calibration)


@functools.lru_cache(maxsize=1)
def load_network(options: NetworkOptions) -> "DepthPredictor":
    """Load a network; the one loaded last is kept."""
    from depthformer_core.inference.predictor import DepthPredictor

    return DepthPredictor.from_checkpoint(
        options.source,
        device=options.device,
        precision=options.precision,
        crop=options.crop,
        focal=options.focal,
        flip=options.flip,
        rotate=options.rotate,
        calibration=options.calibration_file,
    )
