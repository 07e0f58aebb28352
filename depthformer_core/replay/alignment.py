"""Alignment of depth images with colour images."""

from dataclasses import dataclass

import numpy as np

from depthformer_core.geometry.camera import Camera
from depthformer_core.geometry.transforms import FrameTree, TransformError, frame_name

# Intrinsics of one camera differ by no more than by rounding, or by another rectification.
_ALIKE = 0.01
# Frames at one place: metres, and entries of the rotation's matrix.
_NEAR = 1e-3


@dataclass(frozen=True)
class ImagePlane:
    """Frame and camera of images.

    Attributes:
        frame_id: Frame in their header; empty where they name none.
        camera: Their camera, where it is known.
    """

    frame_id: str
    camera: Camera | None


def misalignment(image: ImagePlane, depth: ImagePlane, tree: FrameTree) -> str:
    """Return why a depth image does not lie on the pixels of a colour image.

    Args:
        image: The colour image.
        depth: The depth image.
        tree: The transforms of their frames.

    Returns:
        The difference, or an empty text where none is known.
    """
    frames = frame_name(image.frame_id), frame_name(depth.frame_id)
    if all(frames) and frames[0] != frames[1] and not _at_one_place(*frames, tree):
        return f"its frame is {depth.frame_id!r}, that of the images {image.frame_id!r}"
    if image.camera is not None and depth.camera is not None:
        resized = depth.camera.resized(image.camera.height, image.camera.width)
        for name in ("fx", "fy", "cx", "cy"):
            ours, theirs = getattr(image.camera, name), getattr(depth.camera, name)
            unit = image.camera.fx if name in ("fx", "fy") else image.camera.width
            if abs(ours - getattr(resized, name)) > _ALIKE * unit:
                return f"its camera_info has {name} {theirs:.1f}, that of the images {ours:.1f}"
    return ""


def _at_one_place(image: str, depth: str, tree: FrameTree) -> bool:
    try:
        return bool(np.allclose(tree.matrix(image, depth), np.eye(4), rtol=0, atol=_NEAR))
    except TransformError:
        return False
