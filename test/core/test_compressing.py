"""Depth images and previews that are compressed as image_transport does."""

import struct
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import compressed_message, picture

from depthformer_core.bags.compressed_messages import compress_rgb, compressed_to_rgb
from depthformer_core.bags.depth_messages import (
    DEPTH_COMPRESSIONS,
    DEPTH_ENCODINGS,
    compress_depth,
    compressed_to_depth,
    depth_truth,
    to_millimetres,
)
from depthformer_core.errors import DepthFormerError

NAN, INF = np.nan, np.inf
# One float32 at 1e38 m: far beyond any camera.
METRES = np.array([[NAN, 0.5, 1.0, INF], [2.5, 5.0, 10.0, -INF], [0, -1, 10.1, 1e38]], np.float32)


def read(form: str, data: bytes) -> Any:
    return compressed_to_depth(compressed_message(data, form))


def test_metres_in_png_by_the_description() -> None:
    """Header: format 0, a = 100 * 101 and b = 1 - a / depth_max; pixels: a / depth + b."""
    form, data = compress_depth(METRES, encoding="32FC1", compression="png", max_depth=10.0)
    assert form == "32FC1; compressedDepth png"
    # Little endian: int32 0, float32 10100 and -1009.
    assert data[:12] == bytes.fromhex("00000000 00d01d46 00407cc4")
    assert data[12:20] == b"\x89PNG\r\n\x1a\n"
    steps = cv2.imdecode(np.frombuffer(data[12:], np.uint8), cv2.IMREAD_UNCHANGED)
    assert steps.dtype == np.uint16
    np.testing.assert_array_equal(steps, [[0, 19191, 9091, 0], [3031, 1011, 1, 0], [0, 0, 0, 0]])


def test_metres_in_rvl_by_the_description() -> None:
    depth = np.array([[NAN, 10.0, 10100 / 1011]], np.float32)
    form, data = compress_depth(depth, encoding="32FC1", compression="rvl", max_depth=10.0)
    assert form == "32FC1; compressedDepth rvl"
    assert data[:12] == bytes.fromhex("00000000 00d01d46 00407cc4")
    assert data[12:20] == struct.pack("<II", 3, 1)  # columns, then rows
    # Steps 0, 1, 2: one zero, two others, +1 (2), +1 (2); eight nibbles in a word of 32 bits.
    assert data[20:] == (0x12220000).to_bytes(4, "little")


def test_millimetres_by_the_description() -> None:
    form, data = compress_depth(METRES, encoding="16UC1", compression="png", max_depth=80.0)
    assert (form, data[:12]) == ("16UC1; compressedDepth png", bytes(12))
    steps = cv2.imdecode(np.frombuffer(data[12:], np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(steps, to_millimetres(METRES))
    wanted = [[0, 500, 1000, 0], [2500, 5000, 10000, 0], [0, 0, 10100, 0]]
    np.testing.assert_array_equal(steps, wanted)
    form, data = compress_depth(
        np.array([[0.0, 0.005, 0.004]], np.float32),
        encoding="16UC1", compression="rvl", max_depth=80.0,
    )  # fmt: skip
    assert form == "16UC1; compressedDepth rvl"
    # As in test_rvl.test_a_code_by_hand.
    assert data == bytes(12) + struct.pack("<II", 3, 1) + (0x12A11000).to_bytes(4, "little")


@pytest.mark.parametrize("max_depth", [1.0, 10.0, 80.0, 1000.0])
@pytest.mark.parametrize("compression", DEPTH_COMPRESSIONS)
def test_metres_there_and_back(compression: Any, max_depth: float) -> None:
    near = 0.16
    depth = np.geomspace(near, max_depth, 3000, dtype=np.float32).reshape(50, 60)
    depth[:, :9] = NAN
    back = read(
        *compress_depth(depth, encoding="32FC1", compression=compression, max_depth=max_depth)
    )
    # The largest depth may be rounded beyond the maximum.
    np.testing.assert_array_equal(np.isnan(back[:, :-1]), np.isnan(depth[:, :-1]))
    known = np.isfinite(back)
    # Half a step of inverse depth, and a little for single precision.
    error = np.abs(1 / back[known].astype(float) - 1 / depth[known]) * 100 * 101
    assert error.max() < 0.51
    if max_depth <= 80:
        bound = depth[known].astype(float) ** 2 / 20000
        assert (np.abs(back - depth)[known] <= bound).all()


@pytest.mark.parametrize("compression", DEPTH_COMPRESSIONS)
def test_millimetres_there_and_back(compression: Any) -> None:
    depth = np.random.default_rng(0).integers(0, 65536, (40, 50)).astype(np.float32) / 1000
    back = depth_truth(
        compressed_message(
            *reversed(
                compress_depth(depth, encoding="16UC1", compression=compression, max_depth=80.0)
            )
        )
    )
    np.testing.assert_array_equal(back, depth)


def test_what_is_nearest_stays_near() -> None:
    depth = np.array([[1e-30, 0.01, 0.15, 0.16]], np.float32)
    back = read(*compress_depth(depth, encoding="32FC1", compression="png", max_depth=80.0))
    np.testing.assert_allclose(back, [[0.1538, 0.1538, 0.1538, 0.16]], rtol=1e-3)


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(st.floats(width=32), min_size=1, max_size=30),
    encoding=st.sampled_from(DEPTH_ENCODINGS),
    compression=st.sampled_from(DEPTH_COMPRESSIONS),
    max_depth=st.floats(0.5, 1000),
)
def test_any_depth_can_be_read(
    values: list[float], encoding: Any, compression: Any, max_depth: float
) -> None:
    depth = np.array([values], np.float32)
    with np.errstate(all="raise"):
        message = compress_depth(
            depth, encoding=encoding, compression=compression, max_depth=max_depth
        )
    back = read(*message)
    assert back.shape == depth.shape
    # NaN, infinity and what is not positive has no value.
    assert np.isnan(back[~(np.isfinite(depth) & (depth > 0))]).all()


def test_a_depth_without_an_end_is_refused() -> None:
    with pytest.raises(DepthFormerError, match="maximum depth must be positive, got 0"):
        compress_depth(METRES, encoding="32FC1", compression="png", max_depth=0.0)


def test_a_preview_there_and_back() -> None:
    rgb = picture(48, 64)
    form, data = compress_rgb(rgb)
    assert form == "rgb8; jpeg compressed bgr8"
    assert data.startswith(b"\xff\xd8")
    back = compressed_to_rgb(compressed_message(data, form))
    assert np.abs(back.astype(int) - rgb).max() < 8
