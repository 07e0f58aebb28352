"""Training images as a network reads them, before their augmentation."""

from dataclasses import dataclass

import numpy as np

from depthformer_core.config import DepthFormerConfig
from depthformer_core.data.dataset import DatasetError, Frame
from depthformer_core.errors import DepthFormerError
from depthformer_core.inference.focal import (
    assumed_camera,
    fitted_size,
    resize_image,
    resize_truth,
)
from depthformer_core.inference.view import trained_view
from depthformer_core.types import FloatArray, Rgb


@dataclass(frozen=True, eq=False)
class PreparedFrame:
    """An image at the focal length that a network knows, with its truth.

    Attributes:
        file: Name of the frame, see `Frame`.
        rgb: (H, W, 3), 0 to 255.
        depth: (H, W), metres, 0 where there is no truth.
    """

    file: str
    rgb: Rgb
    depth: FloatArray


def prepare(frame: Frame, *, model: DepthFormerConfig, far: float) -> PreparedFrame:
    """Bring a frame to the focal length that a network knows.

    A network with crop `view` gets its field of view from the frame's camera, as in inference:
    what a narrower camera does not see is mirrored, without truth.

    Args:
        frame: An image with truth.
        model: The network.
        far: Depth to take for infinity, metres: 0 ignores pixels that are only known to be far.

    Raises:
        DatasetError: The frame has no truth, or intrinsics that cannot be.
    """
    if frame.depth is None:
        raise DatasetError(f"{frame.file} has no depth to train on")
    rgb, depth = frame.rgb, np.where(np.isinf(frame.depth), np.float32(far), frame.depth)
    height, width = depth.shape
    camera = frame.camera or assumed_camera(model, height=height, width=width)
    try:
        if camera is not None and model.crop == "view":
            view = trained_view(camera, model)
            rgb, depth = view.image(rgb), view.truth(depth)
        elif camera is not None and model.focal_length is not None:
            size = fitted_size(camera, model.focal_length)
            rgb, depth = resize_image(rgb, size), resize_truth(depth, size)
    except DepthFormerError as error:
        raise DatasetError(f"{frame.file}: {error}") from error
    return PreparedFrame(frame.file, rgb, depth)
