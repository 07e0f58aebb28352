"""Errors of bags."""

from depthformer_core.errors import DepthFormerError


class BagError(DepthFormerError):
    """A bag that cannot be read or written; the message names path and value."""


def reason(error: Exception) -> str:
    """Return the text of an error on one line."""
    return " ".join(str(error).split()) or type(error).__name__
