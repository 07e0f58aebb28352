"""What follows from sizes alone, computed once."""

import functools
from collections.abc import Callable, Hashable
from typing import TypeVar

import torch

_Result = TypeVar("_Result")


def keep_newest(
    count: int,
) -> Callable[[Callable[..., _Result]], Callable[..., _Result]]:
    """Make a function of sizes keep its newest results, so that asking again costs nothing.

    What `torch.compile` makes of it computes the result in the graph instead, where it joins
    whatever uses it.

    Args:
        count: Results that are kept.
    """

    def decorate(function: Callable[..., _Result]) -> Callable[..., _Result]:
        @functools.lru_cache(maxsize=count)
        def keep(*sizes: Hashable) -> _Result:
            # A kept tensor must serve training and inference alike.
            with torch.inference_mode(False):
                return function(*sizes)

        @functools.wraps(function)
        def call(*sizes: Hashable) -> _Result:
            return function(*sizes) if torch.compiler.is_compiling() else keep(*sizes)

        return call

    return decorate
