"""Caches of results that depend on sizes alone."""

import contextlib
import functools
from collections.abc import Callable, Hashable, Iterator
from contextvars import ContextVar
from typing import Any, TypeVar

import torch

_Result = TypeVar("_Result")
_Constants = dict[tuple[Any, ...], Any]

_of_graph: ContextVar[_Constants | None] = ContextVar("constants of a graph", default=None)


def cache_by_shape(
    count: int,
) -> Callable[[Callable[..., _Result]], Callable[..., _Result]]:
    """Cache the newest results of a function of sizes.

    Under `torch.compile` the result is computed in the graph instead, where it is fused with its
    users.

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
            if torch.compiler.is_compiling():
                return function(*sizes)
            if _of_graph.get() is None:
                return keep(*sizes)
            return graph_constant((function, *sizes), lambda: function(*sizes))

        return call

    return decorate


def graph_constant(key: tuple[Hashable, ...], make: Callable[[], _Result]) -> _Result:
    """Compute a constant of all frames once for each CUDA graph.

    Outside of a graph it is computed each time.

    Args:
        key: Its key within a graph.
        make: Computes it.
    """
    constants = None if torch.compiler.is_compiling() else _of_graph.get()
    if constants is None:
        return make()
    if key not in constants:
        constants[key] = make()
    result: _Result = constants[key]
    return result


@contextlib.contextmanager
def graph_constants(constants: _Constants) -> Iterator[None]:
    """Collect the results of functions of sizes in a dictionary, separate from all other caches.

    A CUDA graph reads them at the same place in memory each time it is replayed, so they have to
    live as long as the graph does.

    Args:
        constants: Where they are kept; empty at first.
    """
    token = _of_graph.set(constants)
    try:
        yield
    finally:
        _of_graph.reset(token)
