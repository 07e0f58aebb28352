"""Which true depth counts."""

import dataclasses
from typing import Any, get_args

import numpy as np
import pytest

from depthformer_core.data.open import DatasetName
from depthformer_core.evaluation.protocol import PROTOCOLS, Mask, Protocol, choose_protocol


@pytest.mark.parametrize(
    ("mask", "shape", "rows", "columns"),
    [
        ("none", (352, 1216), (0, 352), (0, 1216)),
        ("garg", (352, 1216), (143, 349), (43, 1172)),
        ("eigen", (352, 1216), (117, 321), (43, 1172)),
        ("garg", (370, 1224), (151, 366), (43, 1180)),
        ("nyu", (480, 640), (45, 471), (41, 601)),
        ("nyu", (427, 561), (45, 427), (41, 561)),
    ],
    ids=["none", "garg", "eigen", "garg uncropped", "nyu", "nyu on a small image"],
)
def test_masks(
    mask: Mask, shape: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    expected = np.zeros(shape, bool)
    expected[slice(*rows), slice(*columns)] = True
    valid = Protocol(mask=mask, max_depth=80).valid_truth(np.full(shape, 5, np.float32))
    np.testing.assert_array_equal(valid, expected)


def test_both_ends_of_the_range_are_outside() -> None:
    truth = np.array([[0, 0.001, 0.0011, 9.999, 10, 11, np.nan, np.inf, -1]])
    valid = Protocol(max_depth=10).valid_truth(truth)
    assert valid.tolist() == [[False, False, True, True, False, False, False, False, False]]


def test_capped_truth_counts() -> None:
    protocol = PROTOCOLS["sunrgbd"]
    truth = np.array([[0, 7, 8, 9, 12, np.nan]], np.float32)
    expected = [[False, True, True, True, True, False]]
    unmasked = Protocol(max_depth=protocol.max_depth, cap=protocol.cap)
    assert unmasked.valid_truth(truth).tolist() == expected
    capped = protocol.cap_depth(truth)
    assert capped.dtype == np.float32
    np.testing.assert_array_equal(capped, [[0, 7, 8, 8, 8, np.nan]])
    assert protocol.limit == 8


def test_predictions_are_moved_into_the_range() -> None:
    prediction = np.array([[-3, 0, 5, 100, np.nan]], np.float32)
    clamped = Protocol(max_depth=80).clamp_prediction(prediction)
    assert clamped.dtype == np.float32
    np.testing.assert_array_equal(clamped, np.float32([[0.001, 0.001, 5, 80, np.nan]]))


@pytest.mark.parametrize(
    ("limit", "edges"),
    [
        ({"max_depth": 80}, (0, 10, 20, 40, 80)),
        ({"max_depth": 50}, (0, 10, 20, 40, 50)),
        ({"max_depth": 256}, (0, 10, 20, 40, 80, 256)),
        ({"max_depth": 10}, (0, 1, 2, 4, 8, 10)),
        ({"max_depth": 10, "cap": 8.0}, (0, 1, 2, 4, 8)),
    ],
    ids=["street", "short street", "server", "room", "capped"],
)
def test_distances(limit: dict[str, float], edges: tuple[float, ...]) -> None:
    assert Protocol(**limit).distances == edges


def test_kitti_crop_comes_before_the_mask() -> None:
    window = PROTOCOLS["kitti_eigen"].window(height=375, width=1242)
    assert window == (23, 13, 352, 1216)


def test_every_data_set_has_a_protocol() -> None:
    assert set(PROTOCOLS) == set(get_args(DatasetName))
    assert PROTOCOLS["kitti_eigen"] == Protocol(crop="kitti", mask="garg", max_depth=80)
    assert PROTOCOLS["nyu"] == Protocol(mask="nyu", max_depth=10)
    # Every value that 16 bits can hold counts on the server, at its crop of 352x1216.
    every = np.arange(1, 65536, dtype=np.float32)[None] / 256
    assert PROTOCOLS["kitti_benchmark"].valid_truth(every).all()


@pytest.mark.parametrize("name", PROTOCOLS)
def test_description_names_what_counts(name: str) -> None:
    protocol = PROTOCOLS[name]
    text = " ".join(protocol.describe())
    assert f"{protocol.max_depth:g} m" in text
    assert ("8 m" in text) == (protocol.cap == 8 or protocol.max_depth == 8)
    assert ("Garg" in text) == (protocol.mask == "garg")
    assert ("352 rows" in text) == (protocol.crop == "kitti")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mask": "round", "max_depth": 80}, "mask must be one of .* got 'round'"),
        ({"crop": "half", "max_depth": 80}, "crop must be one of .* got 'half'"),
        ({"max_depth": 0}, "got 0.001 and 0"),
        ({"max_depth": float("nan")}, "got 0.001 and nan"),
        ({"max_depth": float("inf")}, "got 0.001 and inf"),
        ({"max_depth": 10, "min_depth": -1}, "got -1 and 10"),
        ({"max_depth": 10, "cap": 0.0}, "cap must be beyond min_depth 0.001, got 0.0"),
    ],
    ids=["mask", "crop", "zero", "nan", "infinite", "negative", "cap"],
)
def test_bad_protocols_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Protocol(**fields)


def test_requested_values_change_the_usual_protocol() -> None:
    usual = PROTOCOLS["kitti_benchmark"]
    assert choose_protocol("kitti_benchmark") == usual
    requested = choose_protocol("kitti_benchmark", crop="none", mask="garg", max_depth=88.0)
    assert requested == dataclasses.replace(usual, crop="none", mask="garg", max_depth=88.0)
    # The release resizes no image of SUN RGB-D.
    assert choose_protocol("sunrgbd").focal == "none"
    assert choose_protocol("sunrgbd", focal="resize").focal == "resize"
    with pytest.raises(ValueError, match="focal must be one of"):
        Protocol(max_depth=10.0, focal="zoom")  # type: ignore[arg-type]
