"""Configuration of a DepthFormer, stored in a checkpoint beside the weights."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any, Literal, get_args

from depthformer_core.errors import DepthFormerError
from depthformer_core.types import Json

Crop = Literal["none", "kitti", "view"]
Head = Literal["relu", "sigmoid"]
Focal = Literal["resize", "scale", "none"]
Norm = Literal["batch", "image"]
Upsampling = Literal["bilinear", "convex"]

STAGES = 4


@dataclass(frozen=True, kw_only=True)
class DepthFormerConfig:
    """Architecture and depth range of one DepthFormer.

    Channel widths that the release ties together are derived, not stored: stage `i` of the Swin
    branch has `embed_dim * 2**i` channels and the decoder keeps the widths of the features it
    reads.

    Attributes:
        embed_dim: Channels of the first Swin stage.
        depths: Blocks of each of the four Swin stages.
        num_heads: Attention heads of each of the four Swin stages.
        window_size: Side of an attention window, in tokens.
        drop_path: Largest stochastic depth probability, in training.
        dropout: Dropout probability of the neck's attention, in training.
        stem_dim: Channels of the convolution branch.
        hahi_dim: Channels of the deformable attention of the neck.
        hahi_heads: Heads of the deformable attention.
        hahi_points: Sampling points of the deformable attention, per head and level.
        hahi_query_stride: The convolution branch attends to the Swin scales from each pixel (1, as
            in the release), or from squares of so many pixels: less to compute.
        norm: Normalisation in stem and neck: over the `batch`, as in the release, or over each
            `image` alone, for networks that are trained on small batches.
        head: Last activation: `relu` adds `min_depth`, `sigmoid` multiplies by `max_depth`.
        upsampling: From the decoder's half resolution to the image's: `bilinear`, as in the
            release, or `convex`, by learnt weights, which keeps edges.
        uncertainty: Whether the network predicts, beside the depth, the scale of a Laplace
            distribution around it.
        min_depth: Nearest depth the network predicts, metres.
        max_depth: Farthest depth the network predicts, metres.
        crop: Part of a camera image the network reads: `kitti` is the bottom 352 rows and middle
            1216 columns, `view` the field of view of the images it was trained on, `none` is the
            whole image.
        focal_length: Focal length of the images the network was trained on, pixels; its metres
            hold for no other. None where it is unknown.
        image_width: Columns of the images of that focal length, before any crop.
        image_height: Rows of those images; None where they are unknown.
    """

    embed_dim: int
    depths: tuple[int, ...]
    num_heads: tuple[int, ...]
    window_size: int = 7
    drop_path: float = 0.3
    dropout: float = 0.1
    stem_dim: int = 64
    hahi_dim: int
    hahi_heads: int = 8
    hahi_points: int = 8
    hahi_query_stride: int = 1
    norm: Norm = "batch"
    head: Head = "relu"
    upsampling: Upsampling = "bilinear"
    uncertainty: bool = False
    min_depth: float = 1e-3
    max_depth: float
    crop: Crop = "none"
    focal_length: float | None = None
    image_width: int | None = None
    image_height: int | None = None

    def __post_init__(self) -> None:
        """Reject values that no network can be built from."""
        for name in ("depths", "num_heads"):
            values = getattr(self, name)
            if len(values) != STAGES or min(values) < 1:
                raise DepthFormerError(f"{name} must be {STAGES} positive integers, got {values}")
        counts = ("embed_dim", "window_size", "stem_dim", "hahi_heads", "hahi_points")
        for name in (*counts, "hahi_query_stride"):
            if getattr(self, name) < 1:
                raise DepthFormerError(f"{name} must be positive, got {getattr(self, name)}")
        for channels, heads in zip(self.stage_dims, self.num_heads, strict=True):
            if channels % heads:
                raise DepthFormerError(
                    f"{channels} Swin channels cannot be shared by {heads} heads"
                )
        if self.hahi_dim < 4 or self.hahi_dim % 4:
            raise DepthFormerError(f"hahi_dim must be a multiple of 4, got {self.hahi_dim}")
        if self.hahi_dim % self.hahi_heads:
            raise DepthFormerError(
                f"hahi_dim {self.hahi_dim} cannot be shared by hahi_heads {self.hahi_heads}"
            )
        for name in ("drop_path", "dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise DepthFormerError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        if not 0.0 < self.min_depth < self.max_depth:
            raise DepthFormerError(
                "depths must satisfy 0 < min_depth < max_depth, "
                f"got {self.min_depth} and {self.max_depth}"
            )
        if (self.focal_length is None) != (self.image_width is None):
            raise DepthFormerError(
                "focal_length and image_width belong together, "
                f"got {self.focal_length} and {self.image_width}"
            )
        if self.focal_length is not None and not 0.0 < self.focal_length < math.inf:
            raise DepthFormerError(f"focal_length must be positive, got {self.focal_length}")
        for name in ("image_width", "image_height"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise DepthFormerError(f"{name} must be positive, got {getattr(self, name)}")
        closed = (("norm", Norm), ("head", Head), ("upsampling", Upsampling), ("crop", Crop))
        for name, choices in ((name, get_args(kind)) for name, kind in closed):
            if getattr(self, name) not in choices:
                raise DepthFormerError(
                    f"{name} must be one of {choices}, got {getattr(self, name)!r}"
                )
        if self.crop == "view" and None in (self.focal_length, self.image_height):
            raise DepthFormerError(
                "crop 'view' needs focal_length, image_width and image_height, got "
                f"{self.focal_length}, {self.image_width} and {self.image_height}"
            )

    @property
    def stage_dims(self) -> tuple[int, ...]:
        """Channels of the four Swin stages, finest first."""
        return tuple(self.embed_dim * 2**stage for stage in range(STAGES))

    @property
    def feature_dims(self) -> tuple[int, ...]:
        """Channels of the five features between the parts, the convolution branch first."""
        return (self.stem_dim, *self.stage_dims)

    def to_dict(self) -> dict[str, Json]:
        """Return the fields as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Json]) -> "DepthFormerConfig":
        """Rebuild a configuration from `to_dict`.

        Raises:
            ValueError: A field is unknown, missing or out of range.
        """
        known = {field.name: field for field in dataclasses.fields(cls)}
        if not isinstance(values, Mapping):
            raise DepthFormerError(f"a configuration is an object of fields, got {values!r}")
        if unknown := sorted(set(values) - set(known)):
            raise DepthFormerError(f"unknown configuration fields: {', '.join(unknown)}")
        required = {name for name, field in known.items() if field.default is dataclasses.MISSING}
        if missing := sorted(required - set(values)):
            raise DepthFormerError(f"missing configuration fields: {', '.join(missing)}")
        kinds: dict[str, type | tuple[type, ...]] = {
            "depths": list,
            "num_heads": list,
            "norm": str,
            "head": str,
            "upsampling": str,
            "uncertainty": bool,
            "crop": str,
            "drop_path": (int, float),
            "dropout": (int, float),
            "min_depth": (int, float),
            "max_depth": (int, float),
            "focal_length": (int, float, NoneType),
            "image_width": (int, NoneType),
            "image_height": (int, NoneType),
        }
        checked: dict[str, Any] = {}
        for name, value in values.items():
            kind = kinds.get(name, int)
            value = list(value) if isinstance(value, tuple) else value
            items = value if isinstance(value, list) else []
            if (
                not isinstance(value, kind)
                or (isinstance(value, bool) and kind is not bool)
                or not all(type(item) is int for item in items)
            ):
                raise DepthFormerError(f"configuration field {name} has a wrong value: {value!r}")
            checked[name] = tuple(value) if isinstance(value, list) else value
        return cls(**checked)
