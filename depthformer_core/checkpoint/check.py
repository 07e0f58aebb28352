"""Checks of a checkpoint's tensors against a network."""

from collections.abc import Mapping

import torch
from torch import Tensor

from depthformer_core.config import DepthFormerConfig
from depthformer_core.errors import CheckpointError, first_line
from depthformer_core.models import DepthFormer


def build_without_weights(config: DepthFormerConfig) -> DepthFormer:
    """Build a network on the meta device, where widths cost nothing, whatever they claim to be.

    Raises:
        CheckpointError: There is no such network.
    """
    try:
        with torch.device("meta"):
            return DepthFormer(config)
    except (RuntimeError, TypeError, OverflowError) as error:
        raise CheckpointError(
            f"no network can be built from its configuration: {first_line(error)}"
        ) from error


def current_name(name: str) -> str:
    """Return today's name of a tensor in a file that an earlier version wrote."""
    return name.replace("neck.level_code", "neck.level_embed")


def check_tensors(
    shapes: Mapping[str, tuple[int, ...]],
    expected: Mapping[str, Tensor],
    *,
    origins: Mapping[str, str] | None = None,
) -> None:
    """Compare tensors with a network's, and name the first that differs.

    Args:
        shapes: Shape of each tensor by our name.
        expected: The network's tensors.
        origins: Where the tensors were converted, the release's name of each.

    Raises:
        CheckpointError: A tensor is unknown, misshapen or missing.
    """
    converted = origins is not None
    origins = origins or {}
    for name, shape in shapes.items():
        shown = origins.get(name, name)
        if name not in expected:
            raise CheckpointError(f"unknown tensor {shown}: this network has none of that name")
        if shape != tuple(expected[name].shape):
            raise CheckpointError(
                f"tensor {shown} has shape {shape}, this network's is {tuple(expected[name].shape)}"
            )
    missing = [name for name in expected if name not in shapes]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        why = ": nothing in the checkpoint becomes it" if converted else ""
        raise CheckpointError(f"missing tensor {missing[0]}{more}{why}")
