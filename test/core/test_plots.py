"""Times that images are named after."""

import pytest

from depthformer_core.evaluation.plots import seconds_since_first


def test_stamps_are_read_exactly() -> None:
    files = ["1700000000.100000001", "1700000000.100000000", "1700000001.000000000"]
    assert seconds_since_first(files) == [1e-9, 0.0, 0.9]


@pytest.mark.parametrize(
    "files",
    [
        [],
        ["0000000007.png"],
        ["1700000000.100000000", "x.png"],
        ["1700000000.1"],
        ["1700000000.100000000.png"],
    ],
    ids=["none", "picture", "one picture", "few digits", "suffix"],
)
def test_other_names_have_no_time(files: list[str]) -> None:
    assert seconds_since_first(files) is None
