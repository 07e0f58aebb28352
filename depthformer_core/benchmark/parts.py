"""The stages of a frame, and the parts of the network they are made of."""

from typing import TypeVar

_Amount = TypeVar("_Amount", int, float)

ATTENTIONS = ("neck.self_attention", "neck.cross_attention")
PARTS = ("stem", "swin", "neck", *ATTENTIONS, "decoder", "head")
"""Names of the sub-modules whose time and work are taken; each lies before the next or in it."""


def by_stage(parts: dict[str, _Amount]) -> dict[str, _Amount]:
    """Convert seconds, or a count, of each of the `PARTS` to those of each stage of the network."""
    self_attention, cross_attention = (parts[name] for name in ATTENTIONS)
    return {
        "convolution stem": parts["stem"],
        "Swin": parts["swin"],
        "neck: self-attention": self_attention,
        "neck: cross-attention": cross_attention,
        "neck: rest": parts["neck"] - self_attention - cross_attention,
        "decoder": parts["decoder"] + parts["head"],
    }
