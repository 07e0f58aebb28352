"""Errors of checkpoints."""

from depthformer_core.errors import DepthFormerError


class CheckpointError(DepthFormerError):
    """A checkpoint cannot be read, written or converted."""
