"""Points that an edge filter removes from clouds."""

import numpy as np
import pytest

from depthformer_core.studies.edge_filter import (
    EdgeFilterOptions,
    Removed,
    _groups,
    format_table,
    measure,
)


def test_points_are_judged_by_the_exact_depth() -> None:
    exact = np.full((9, 30), 10.0, np.float32)
    exact[:, 15:] = 20.0
    exact[0, 0] = 0.0
    exact[0, 1] = np.inf
    prediction = exact.copy()
    prediction[4, [7, 13]] = 15.0
    wrong, wrong_at_edges, right = _groups(prediction, exact)
    np.testing.assert_array_equal(np.argwhere(wrong), [[4, 7], [4, 13]])
    np.testing.assert_array_equal(np.argwhere(wrong_at_edges), [[4, 13]])
    assert right.sum() == exact.size - 4


def test_a_wider_limit_removes_fewer() -> None:
    options = EdgeFilterOptions(jumps=(0.03, 0.1), frames=1, device="cpu")
    tight, wide = measure(options)
    assert (tight.jump, wide.jump) == (0.03, 0.1)
    assert 0 < wide.wrong < tight.wrong < 1
    assert 0 <= wide.right < tight.right < 0.2
    assert tight.wrong < tight.wrong_at_edges


def test_table() -> None:
    table = format_table([Removed(0.05, 0.125, 0.5, 0.01)])
    assert table.splitlines()[2] == "| 0.05 | 12.5% | 50.0% | 1.0% |"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"frames": 0}, "frames must be 1 to 200, got 0"),
        ({"jumps": (0.1, 0.0)}, r"must be positive, got \(0.1, 0.0\)"),
        ({"jumps": ()}, r"must be positive, got \(\)"),
    ],
    ids=["frames", "jumps", "none"],
)
def test_bad_options_are_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EdgeFilterOptions(**values)
