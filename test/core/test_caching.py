"""Constants that follow from sizes alone."""

import torch
from torch import Tensor

from depthformer_core.caching import cache_by_shape, graph_constant, graph_constants

CALLS: list[int] = []


@cache_by_shape(1)
def ones(size: int) -> Tensor:
    CALLS.append(size)
    return torch.ones(size)


def test_the_newest_is_kept() -> None:
    CALLS.clear()
    for size in (2, 2, 3, 2):
        ones(size)
    assert CALLS == [2, 3, 2]


def test_a_graph_keeps_its_own() -> None:
    """The graph keeps reading them, whatever else is requested meanwhile."""
    constants: dict[tuple[object, ...], Tensor] = {}
    with graph_constants(constants):
        mine = ones(4)
    for size in (5, 6, 7):
        ones(size)
    with graph_constants(constants):
        assert ones(4) is mine
    assert ones(4) is not mine


def test_what_needs_more_than_sizes_is_kept_by_a_graph_alone() -> None:
    def make() -> Tensor:
        CALLS.append(0)
        return torch.zeros(1)

    CALLS.clear()
    assert graph_constant(("zeros",), make) is not graph_constant(("zeros",), make)
    with graph_constants({}):
        assert graph_constant(("zeros",), make) is graph_constant(("zeros",), make)
    assert len(CALLS) == 3
