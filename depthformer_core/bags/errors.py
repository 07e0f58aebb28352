"""Errors of bags."""

from depthformer_core.errors import DepthFormerError


class BagError(DepthFormerError):
    """A bag that cannot be read or written; the message names path and value."""


class ReplayError(DepthFormerError):
    """A bag, or a replay of one, that is not possible as requested."""
