"""HAHI neck: hierarchical aggregation and heterogeneous interaction (DepthFormer, section 3.2)."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthformer_core.caching import cache_by_shape
from depthformer_core.config import Norm
from depthformer_core.models.layers import checkpointed, join, norm_layer
from depthformer_core.models.positional import PositionalEncoding
from depthformer_core.ops import fused_deform_attn, ms_deform_attn

# Offsets, weights and locations of all samples at once would be the largest tensors there are.
_SAMPLES_PER_CHUNK = 2**20


class ConvNormAct(nn.Sequential):
    """Convolution, normalisation and ReLU, keeping the resolution.

    Args:
        in_dim: Channels read.
        out_dim: Channels written.
        kernel_size: Side of the kernel, odd.
        norm: Normalisation.
    """

    def __init__(self, in_dim: int, out_dim: int, *, kernel_size: int, norm: Norm) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_dim, out_dim, kernel_size, padding=kernel_size // 2, bias=False)
        self.norm = norm_layer(norm, out_dim)
        self.act = nn.ReLU(inplace=True)


class DeformableAttention(nn.Module):
    """Attention of queries to a few learnt points around their reference points.

    Args:
        dim: Channels of queries and values.
        heads: Attention heads.
        levels: Feature maps attended to.
        points: Sampling points, per head and level.
        dropout: Dropout probability of the output, before the residual.
    """

    def __init__(
        self, dim: int, *, heads: int, levels: int, points: int, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.heads = heads
        self.levels = levels
        self.points = points
        self.sampling_offsets = nn.Linear(dim, heads * levels * points * 2)
        self.attention_weights = nn.Linear(dim, heads * levels * points)
        self.value_proj = nn.Linear(dim, dim)
        self.output_proj = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)
        # An attribute, so that the reference can be put in its place and compared.
        self.attend = ms_deform_attn
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start from points spread around the reference, one direction a head (Deformable DETR)."""
        nn.init.zeros_(self.sampling_offsets.weight)
        angle = torch.arange(self.heads) * (2 * math.pi / self.heads)
        direction = torch.stack((angle.cos(), angle.sin()), dim=-1)
        direction = direction / direction.abs().amax(dim=-1, keepdim=True)
        reach = torch.arange(1, self.points + 1)
        offsets = direction.view(self.heads, 1, 1, 2) * reach.view(1, 1, self.points, 1)
        offsets = offsets.expand(-1, self.levels, -1, -1)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.flatten())
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for projection in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(projection.weight)
            nn.init.zeros_(projection.bias)

    def forward(
        self,
        query: Tensor,
        *,
        query_encoding: PositionalEncoding,
        value: Tensor,
        reference_points: Tensor,
        spatial_shapes: Sequence[tuple[int, int]],
        activation_checkpointing: bool = False,
    ) -> Tensor:
        """Attend, and add the result to the query.

        Args:
            query: (B, Q, dim); where no gradients are computed, the result may take its memory.
            query_encoding: Of Q pixels; added to the query of the attention, not to the residual.
            value: (B, sum(H * W), dim), the levels one after another.
            reference_points: (Q, 2), x and y in [0, 1].
            spatial_shapes: (H, W) of each level.
            activation_checkpointing: Whether the backward pass computes offsets, weights and
                samples again.

        Returns:
            (B, Q, dim).
        """
        values = self.value_proj(value).unflatten(-1, (self.heads, -1))
        chunk = max(1, _SAMPLES_PER_CHUNK // (self.heads * self.levels * self.points))
        if query.is_cuda:
            # The kernel holds the outputs of the linear layers alone, and chunks cost time: in
            # training each would have a gradient of all the values.
            chunk = query.shape[1]
        parts = [slice(start, start + chunk) for start in range(0, query.shape[1], chunk)]
        if not torch.is_grad_enabled():
            if len(parts) == 1:
                encoded = query_encoding.add_to(query)
                return self._attend(query, encoded, reference_points, values, spatial_shapes)
            for part in parts:
                encoded = query[:, part] + query_encoding[part].to(query.dtype)
                query[:, part] = self._attend(
                    query[:, part], encoded, reference_points[part], values, spatial_shapes
                )
            return query
        # Gradients flow through one lookup of the encoding faster than through many.
        encoding = query_encoding[:]
        attended = [
            checkpointed(
                self._add_and_attend,
                query[:, part],
                encoding[part],
                reference_points[part],
                values,
                spatial_shapes,
                enabled=activation_checkpointing,
            )
            for part in parts
        ]
        return torch.cat(attended, dim=1)

    def _add_and_attend(
        self,
        query: Tensor,
        query_encoding: Tensor,
        reference_points: Tensor,
        values: Tensor,
        spatial_shapes: Sequence[tuple[int, int]],
    ) -> Tensor:
        encoded = query + query_encoding.to(query.dtype)
        return self._attend(query, encoded, reference_points, values, spatial_shapes)

    def _attend(
        self,
        query: Tensor,
        encoded: Tensor,
        reference_points: Tensor,
        values: Tensor,
        spatial_shapes: Sequence[tuple[int, int]],
    ) -> Tensor:
        attended = fused_deform_attn(
            values,
            spatial_shapes,
            self.sampling_offsets(encoded),
            self.attention_weights(encoded),
            reference_points,
            attend=self.attend,
        )
        output: Tensor = self.dropout(self.output_proj(attended)) + query
        return output


class HAHI(nn.Module):
    """Attention among the Swin scales, and from the convolution branch to them.

    Args:
        feature_dims: Channels of the five features, the convolution branch first.
        dim: Channels of the attention.
        heads: Attention heads.
        points: Sampling points, per head and level.
        query_stride: Side of the squares of pixels from which the convolution branch attends.
        dropout: Dropout probability of the attentions' outputs.
        norm: Normalisation behind the convolutions.
    """

    def __init__(
        self,
        feature_dims: Sequence[int],
        *,
        dim: int,
        heads: int,
        points: int,
        query_stride: int = 1,
        dropout: float = 0.1,
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        stem_dim, *stage_dims = feature_dims
        levels = len(stage_dims)
        self.dim = dim
        self.query_stride = query_stride
        self.laterals = nn.ModuleList(
            ConvNormAct(channels, channels, kernel_size=1, norm=norm) for channels in feature_dims
        )
        self.level_embed = nn.Parameter(torch.empty(levels, dim))
        self.stage_projections = nn.ModuleList(
            ConvNormAct(channels, dim, kernel_size=1, norm=norm) for channels in stage_dims
        )
        self.self_attention = DeformableAttention(
            dim, heads=heads, levels=levels, points=points, dropout=dropout
        )
        self.stage_fusions = nn.ModuleList(
            ConvNormAct(channels + dim, channels, kernel_size=3, norm=norm)
            for channels in stage_dims
        )
        self.stem_projection = ConvNormAct(stem_dim, dim, kernel_size=1, norm=norm)
        self.reference_points = nn.Linear(dim, 2)
        self.cross_attention = DeformableAttention(
            dim, heads=heads, levels=levels, points=points, dropout=dropout
        )
        self.stem_fusion = ConvNormAct(dim + stem_dim, stem_dim, kernel_size=3, norm=norm)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the starting weights of convolutions, level embedding and reference points."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
        nn.init.normal_(self.level_embed)
        nn.init.xavier_uniform_(self.reference_points.weight)
        nn.init.zeros_(self.reference_points.bias)

    def forward(
        self, features: Sequence[Tensor], *, activation_checkpointing: bool = False
    ) -> list[Tensor]:
        """Enhance the five features, keeping their shapes.

        Args:
            features: (B, C, H, W) each: the convolution branch, then the Swin stages.
            activation_checkpointing: Whether the backward pass computes the attention again.

        Returns:
            The features in the same order.
        """
        stem, *stages = (
            lateral(feature) for lateral, feature in zip(self.laterals, features, strict=True)
        )
        shapes = [(stage.shape[2], stage.shape[3]) for stage in stages]
        attended = self._attend_stages(
            stages, shapes, activation_checkpointing=activation_checkpointing
        )
        # Without a name of its own, the attention's output is freed once it is concatenated.
        stem = join(
            (
                self._attend_stem(
                    stem, attended, shapes, activation_checkpointing=activation_checkpointing
                ),
                stem,
            )
        )
        outputs = [self.stem_fusion(stem)]
        sequences = attended.split([height * width for height, width in shapes], dim=1)
        for stage, sequence, fusion in zip(stages, sequences, self.stage_fusions, strict=True):
            image = sequence.transpose(1, 2).unflatten(2, stage.shape[2:])
            outputs.append(fusion(join((stage, image))))
        return outputs

    def _attend_stages(
        self,
        stages: Sequence[Tensor],
        shapes: list[tuple[int, int]],
        *,
        activation_checkpointing: bool,
    ) -> Tensor:
        """Compute the self-attention over all pixels of all stages: (B, sum(H * W), dim)."""
        sequence = torch.cat(
            [
                projection(stage).flatten(2).transpose(1, 2)
                for projection, stage in zip(self.stage_projections, stages, strict=True)
            ],
            dim=1,
        )
        encoding = _positional_encoding(tuple(shapes), self.dim, sequence.device, 1)
        attended: Tensor = self.self_attention(
            sequence,
            query_encoding=encoding.with_levels(self.level_embed),
            value=sequence,
            reference_points=_pixel_centres(tuple(shapes), sequence.device),
            spatial_shapes=shapes,
            activation_checkpointing=activation_checkpointing,
        )
        return attended

    def _attend_stem(
        self,
        stem: Tensor,
        attended: Tensor,
        shapes: list[tuple[int, int]],
        *,
        activation_checkpointing: bool,
    ) -> Tensor:
        """Compute the cross-attention from the convolution branch: (B, dim, H, W)."""
        stride = self.query_stride
        pooled = stem
        if stride > 1:
            # Without padding this counts the same pixels, but ONNX Runtime before 1.30, asked to
            # count padding, takes the last window of an odd size for a whole one.
            pooled = F.avg_pool2d(stem, stride, ceil_mode=True, count_include_pad=False)
        query = self.stem_projection(pooled)
        height, width = query.shape[2:]
        encoding = _positional_encoding(((height, width),), self.dim, query.device, stride)
        # A pixel's own place is worth more digits than half precision has.
        with torch.autocast(query.device.type, enabled=False):
            reference_points = encoding.project(self.reference_points).sigmoid()
        crossed: Tensor = self.cross_attention(
            query.flatten(2).transpose(1, 2),
            query_encoding=encoding,
            value=attended,
            reference_points=reference_points,
            spatial_shapes=shapes,
            activation_checkpointing=activation_checkpointing,
        )
        # Of a single image too, its strides are those of channels last: interpolation goes by them.
        image = crossed.flatten().view(-1, height, width, self.dim).permute(0, 3, 1, 2)
        if stride > 1:
            image = F.interpolate(image, size=stem.shape[2:], mode="bilinear").to(stem.dtype)
        return image


# A frame needs two.
@cache_by_shape(2)
def _positional_encoding(
    shapes: tuple[tuple[int, int], ...], dim: int, device: torch.device, stride: int
) -> PositionalEncoding:
    return PositionalEncoding.of_maps(shapes, dim, device=device, stride=stride)


@cache_by_shape(1)
def _pixel_centres(shapes: tuple[tuple[int, int], ...], device: torch.device) -> Tensor:
    """Return x and y of every pixel's centre, (sum(H * W), 2), in units of its map's size."""
    centres = []
    for height, width in shapes:
        y = (torch.arange(height, device=device) + 0.5) / height
        x = (torch.arange(width, device=device) + 0.5) / width
        grid = torch.meshgrid(y, x, indexing="ij")
        centres.append(torch.stack((grid[1], grid[0]), dim=-1).flatten(0, 1))
    return torch.cat(centres)
