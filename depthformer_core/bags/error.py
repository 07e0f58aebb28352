"""What is raised about bags."""

from depthformer_core.errors import DepthFormerError


class BagError(DepthFormerError):
    """A bag that cannot be read or written as asked; the message names path and value."""


def reason(error: Exception) -> str:
    """Text of an error on one line; parsers point at the place, over several."""
    return " ".join(str(error).split()) or type(error).__name__
