"""DepthFormer: Swin and convolution branches, HAHI neck, dense decoder (arXiv 2203.14211)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthformer_core.config import DepthFormerConfig
from depthformer_core.errors import DepthFormerError
from depthformer_core.models.conv_stem import ConvStem
from depthformer_core.models.decoder import Decoder
from depthformer_core.models.hahi import HAHI
from depthformer_core.models.swin import SwinTransformer
from depthformer_core.models.upsampling import ConvexUpsampling
from depthformer_core.presets import PRESETS

# A new network predicts this share of its largest depth everywhere: 10 m of 80 m. Every pixel then
# starts where the ReLU has a gradient, and near the depth of a street or, indoors, of a room.
# Started around zero, the release's training can die at the first step.
_START = 1 / 8

# Scale of the errors that a new network predicts, in units of its depth.
_START_SCALE = 0.2
# Logarithms of the scale over the depth: no predicted scale is beyond these.
_LOG_SCALES = (-5.0, 2.0)


class DepthFormer(nn.Module):
    """Metric depth from one image.

    Args:
        config: Architecture and depth range.

    Attributes:
        activation_checkpointing: Whether training keeps less of the forward pass and computes the
            Swin blocks, the attention of the neck and the blocks of the decoder again in the
            backward pass: less memory, more time, the same gradients.
    """

    def __init__(self, config: DepthFormerConfig) -> None:
        super().__init__()
        self.config = config
        self.activation_checkpointing = False
        self.stem = ConvStem(config.stem_dim, norm=config.norm)
        self.swin = SwinTransformer(
            config.embed_dim,
            depths=config.depths,
            num_heads=config.num_heads,
            window_size=config.window_size,
            drop_path=config.drop_path,
        )
        self.neck = HAHI(
            config.feature_dims,
            dim=config.hahi_dim,
            heads=config.hahi_heads,
            points=config.hahi_points,
            query_stride=config.hahi_query_stride,
            dropout=config.dropout,
            norm=config.norm,
        )
        self.decoder = Decoder(config.feature_dims)
        maps = 2 if config.uncertainty else 1
        self.head = nn.Conv2d(config.stem_dim, maps, kernel_size=3, padding=1)
        if self.head.bias is not None:
            start = _START * config.max_depth
            if config.head == "sigmoid":
                start = math.log(_START / (1 - _START))
            nn.init.constant_(self.head.bias[:1], start)
            nn.init.constant_(self.head.bias[1:], math.log(_START_SCALE))
        convex = config.upsampling == "convex"
        self.upsampling = ConvexUpsampling(config.stem_dim) if convex else None

    def forward(self, image: Tensor) -> Tensor:
        """Predict depth.

        Args:
            image: (B, 3, H, W), RGB, normalised by ImageNet's mean and deviation.

        Returns:
            Metres along the optical axis, float32. In evaluation mode (B, 1, H, W), clamped to the
            depth range; in training mode unclamped and, where the upsampling is not learnt, at
            half the resolution: (B, 1, ceil(H / 2), ceil(W / 2)). Of a network with `uncertainty`
            two maps: the depth, and the scale of a Laplace distribution around it, metres.

        Raises:
            ValueError: The image has another shape.
        """
        if image.dim() != 4 or image.shape[1] != 3 or min(image.shape[2:]) < 1:
            raise DepthFormerError(f"image must be (B, 3, H, W), got {tuple(image.shape)}")
        height, width = image.shape[2:]
        feature = self.features(image)
        maps = self.head_depth(feature)
        if self.upsampling is not None:
            maps = self.upsampling(maps, feature)[:, :, :height, :width]
        if self.training:
            return maps
        maps = maps.clamp(self.config.min_depth, self.config.max_depth)
        if maps.shape[2:] == image.shape[2:]:
            return maps
        return F.interpolate(maps, size=(height, width), mode="bilinear", align_corners=True)

    def features(self, image: Tensor) -> Tensor:
        """Map a normalised image (B, 3, H, W) to the last feature, at half its resolution."""
        # No BatchNorm is in what is checkpointed: its running statistics would move twice.
        activation_checkpointing = self.training and self.activation_checkpointing
        branches = [
            self.stem(image),
            *self.swin(image, activation_checkpointing=activation_checkpointing),
        ]
        enhanced = self.neck(branches, activation_checkpointing=activation_checkpointing)
        return self.decoder(enhanced, activation_checkpointing=activation_checkpointing)  # type: ignore[no-any-return]

    def head_depth(self, feature: Tensor) -> Tensor:
        """Map the last feature to depth and scale, metres, in float32: rounding is an error."""
        with torch.autocast(feature.device.type, enabled=False):
            logits: Tensor = self.head(feature.float())
            depth = logits[:, :1]
            if self.config.head == "sigmoid":
                depth = depth.sigmoid() * self.config.max_depth
            else:
                depth = depth.relu() + self.config.min_depth
            if not self.config.uncertainty:
                return depth
            # The depth is learnt from its own errors, not from how sure it is.
            scale = depth.detach() * logits[:, 1:].clamp(*_LOG_SCALES).exp()
            return torch.cat((depth, scale), dim=1)


def create_model(config: DepthFormerConfig | str) -> DepthFormer:
    """Build a network with random weights, in evaluation mode.

    Args:
        config: A configuration, or the name of a preset.

    Raises:
        DepthFormerError: No preset has that name.
    """
    if isinstance(config, str):
        if config not in PRESETS:
            raise DepthFormerError(f"no preset {config!r}; there are: {', '.join(PRESETS)}")
        config = PRESETS[config]
    return DepthFormer(config).eval()
