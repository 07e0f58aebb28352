"""Evaluation protocols: crop, mask and range of the truth that counts."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from depthformer_core.config import Focal
from depthformer_core.errors import DepthFormerError
from depthformer_core.inference.crop import FixedCrop, Window, crop_window
from depthformer_core.types import BoolArray, FloatingArray

Mask = Literal["none", "garg", "eigen", "nyu"]

# Top, bottom, left and right end of a mask as shares of the cropped image's size, as published
# with Garg et al. (ECCV 2016) and Eigen et al. (NIPS 2014).
_SHARES: dict[Mask, tuple[float, float, float, float]] = {
    "garg": (0.40810811, 0.99189189, 0.03594771, 0.96405229),
    "eigen": (0.3324324, 0.91351351, 0.0359477, 0.96405229),
}
_NYU_ROWS = slice(45, 471)
_NYU_COLUMNS = slice(41, 601)


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Crop, mask and depth range of an evaluation.

    Attributes:
        crop: Part of the image that is evaluated: `kitti` is the bottom 352 rows and middle 1216
            columns.
        mask: Part of the crop with truth that counts: `garg` and `eigen` for KITTI, `nyu` for
            640x480 indoor images, or all of it.
        min_depth: Truth counts beyond this depth, metres; nearer predictions are moved to it.
        max_depth: Truth counts below this depth, metres; farther predictions are moved to it.
        cap: Truth and predictions beyond this depth are moved to it, metres; None for no cap.
        kitti_benchmark: Whether the four errors of KITTI's server are computed too.
        focal: Treatment of images of another focal length than the network's, see
            `DepthPredictor`.
    """

    crop: FixedCrop = "none"
    mask: Mask = "none"
    min_depth: float = 1e-3
    max_depth: float
    cap: float | None = None
    kitti_benchmark: bool = False
    focal: Focal = "resize"

    def __post_init__(self) -> None:
        """Reject invalid values."""
        for name, kind in (("crop", FixedCrop), ("mask", Mask), ("focal", Focal)):
            choices = get_args(kind)
            if getattr(self, name) not in choices:
                raise DepthFormerError(
                    f"{name} must be one of {choices}, got {getattr(self, name)!r}"
                )
        if not 0 < self.min_depth < self.max_depth < math.inf:
            raise DepthFormerError(
                "depths must satisfy 0 < min_depth < max_depth < infinity, "
                f"got {self.min_depth} and {self.max_depth}"
            )
        if self.cap is not None and not self.min_depth < self.cap:
            raise DepthFormerError(f"cap must be beyond min_depth {self.min_depth}, got {self.cap}")

    @property
    def limit(self) -> float:
        """Largest depth that truth or a prediction can have, metres."""
        return self.max_depth if self.cap is None else min(self.max_depth, self.cap)

    @property
    def distances(self) -> tuple[float, ...]:
        """Edges of the ranges that errors are also reported for, metres, ascending from 0."""
        edges = (10.0, 20.0, 40.0, 80.0) if self.limit > 10 else (1.0, 2.0, 4.0, 8.0)
        return (0.0, *(edge for edge in edges if edge < self.limit), self.limit)

    def window(self, *, height: int, width: int) -> Window:
        """Return the part of an image that is evaluated."""
        return crop_window(self.crop, height=height, width=width)

    def valid_truth(self, truth: FloatingArray) -> BoolArray:
        """Return the mask of true depth that counts.

        Args:
            truth: (H, W), metres, already cropped to `window`; 0 or NaN where there is none.

        Returns:
            (H, W), True where the truth counts.
        """
        height, width = truth.shape
        inside = np.zeros(truth.shape, np.bool_)
        if self.mask == "none":
            inside[:] = True
        elif self.mask == "nyu":
            inside[_NYU_ROWS, _NYU_COLUMNS] = True
        else:
            top, bottom, left, right = _SHARES[self.mask]
            rows = slice(int(top * height), int(bottom * height))
            inside[rows, int(left * width) : int(right * width)] = True
        capped = self.cap_depth(truth)
        return np.asarray(inside & (capped > self.min_depth) & (capped < self.max_depth))

    def cap_depth(self, depth: FloatingArray) -> FloatingArray:
        """Move depth beyond `cap` to it; NaN stays."""
        return depth if self.cap is None else np.minimum(depth, depth.dtype.type(self.cap))

    def clamp_prediction(self, prediction: FloatingArray) -> FloatingArray:
        """Move predictions into the depth range; NaN stays."""
        return np.clip(prediction, self.min_depth, self.limit).astype(prediction.dtype)

    def describe(self) -> list[str]:
        """Describe the protocol in sentences."""
        crops: dict[FixedCrop, str] = {
            "none": "The whole image is evaluated.",
            "kitti": "The bottom 352 rows and middle 1216 columns of each image are evaluated "
            "(KITTI's crop).",
        }
        masks: dict[Mask, str] = {
            "none": "All true depth there counts",
            "garg": "True depth inside the Garg mask counts (59 % of the rows, 93 % of the "
            "columns: the scanner's field of view)",
            "eigen": "True depth inside the Eigen mask counts (58 % of the rows, 93 % of the "
            "columns)",
            "nyu": "True depth in rows 45 to 470 and columns 41 to 600 counts",
        }
        sentences = [
            crops[self.crop],
            f"{masks[self.mask]}, between {self.min_depth:g} and {self.max_depth:g} m.",
            "Each metric is computed for each image, then averaged over the images.",
        ]
        if self.cap is not None:
            sentences.insert(
                2, f"Truth and predictions beyond {self.cap:g} m are set to {self.cap:g} m."
            )
        return sentences


_KITTI = Protocol(crop="kitti", mask="garg", max_depth=80.0)
_NYU = Protocol(mask="nyu", max_depth=10.0)

# By the names of `open_dataset`.
PROTOCOLS: dict[str, Protocol] = {
    "kitti_eigen": _KITTI,
    "kitti_raw": _KITTI,
    # The server's images are cropped already; 16 bits end at 65535 / 256 m, so all truth counts.
    "kitti_benchmark": Protocol(crop="kitti", max_depth=256.0, kitti_benchmark=True),
    "nyu": _NYU,
    # The release shows its network images of any focal length as they are.
    "sunrgbd": Protocol(mask="nyu", max_depth=10.0, cap=8.0, focal="none"),
    "folder": Protocol(max_depth=80.0),
    "synthetic": Protocol(crop="kitti", max_depth=80.0),
}


def choose_protocol(
    name: str,
    *,
    crop: Literal["auto"] | FixedCrop = "auto",
    mask: Literal["auto"] | Mask = "auto",
    max_depth: float | None = None,
    focal: Literal["auto"] | Focal = "auto",
) -> Protocol:
    """Return the usual protocol of a dataset with the requested changes.

    Args:
        name: The dataset, as `open_dataset` takes it.
        crop: See `Protocol`; auto for the usual one.
        mask: See `Protocol`; auto for the usual one.
        max_depth: See `Protocol`; None for the usual one.
        focal: See `Protocol`; auto for the usual one.

    Raises:
        DepthFormerError: A value is out of range.
    """
    requested = {"crop": crop, "mask": mask, "max_depth": max_depth, "focal": focal}
    changes: dict[str, Any] = {
        field: value for field, value in requested.items() if value not in ("auto", None)
    }
    return dataclasses.replace(PROTOCOLS[name], **changes)
