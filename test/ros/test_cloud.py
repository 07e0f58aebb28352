"""Point clouds of depth images."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="needs ROS 2")

from std_msgs.msg import Header

from depthformer_core.bags.conversion import ConversionError
from depthformer_core.geometry.camera import Camera
from depthformer_core.geometry.flying_pixels import flying_pixels
from depthformer_ros.messages.cloud import CloudOptions, depth_to_cloud

from .robots import points_of

HEADER = Header(frame_id="eye")
HEADER.stamp.sec = 7


def scene(height: int, width: int, *, seed: int = 0) -> tuple[Any, Any, Camera]:
    """Depth with gaps, colours and their camera."""
    random = np.random.default_rng(seed)
    depth = random.uniform(0.5, 80.0, (height, width)).astype(np.float32)
    gaps = random.random(depth.shape)
    for share, value in ((0.3, np.nan), (0.1, np.inf), (0.05, -np.inf)):
        depth[gaps < share] = value
    rgb = random.integers(0, 256, (height, width, 3), np.uint8)
    return depth, rgb, Camera(width, height, 50.0, 55.0, width / 3, height / 2)


@settings(max_examples=50, deadline=None)
@given(
    width=st.integers(1, 12),
    height=st.integers(1, 12),
    focal=st.floats(1, 2000),
    across=st.floats(-100, 100),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_cloud_lands_on_its_pixels(
    width: int, height: int, focal: float, across: float, seed: int
) -> None:
    camera = Camera(width, height, focal, 1.1 * focal, across, height / 2)
    random = np.random.default_rng(seed)
    depth = random.uniform(0.5, 80.0, (height, width)).astype(np.float32)
    depth[random.random(depth.shape) < 0.3] = np.nan
    rgb = random.integers(0, 256, (height, width, 3), np.uint8)
    cloud = depth_to_cloud(depth, rgb, camera, HEADER)

    assert [field.name for field in cloud.fields] == ["x", "y", "z", "rgb"]
    assert [field.offset for field in cloud.fields] == [0, 4, 8, 12]
    assert {field.datatype for field in cloud.fields} == {7}
    assert (cloud.header, cloud.is_dense, cloud.point_step) == (HEADER, False, 16)
    assert (cloud.height, cloud.width, cloud.row_step) == (height, width, 16 * width)
    values = points_of(cloud)
    colours = values[..., 3].copy().view(np.uint32)
    for shift, channel in ((16, 0), (8, 1), (0, 2)):
        np.testing.assert_array_equal(colours >> shift & 255, rgb[..., channel])
    np.testing.assert_array_equal(values[..., 2], depth)
    landed = camera.project(values[..., :3].astype(np.float64))
    down, over = np.mgrid[0:height, 0:width]
    valid = np.isfinite(depth)
    assert np.abs(landed[valid] - np.stack((over, down), -1)[valid]).max(initial=0) < 0.1


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("edge_filter", [0.0, 0.2])
@pytest.mark.parametrize("size", [(1, 1), (5, 1), (64, 7), (65, 9), (200, 30)])
def test_a_cloud_is_the_depth_unprojected(
    size: tuple[int, int], edge_filter: float, stride: int
) -> None:
    depth, rgb, camera = scene(*size)
    cloud = depth_to_cloud(depth, rgb, camera, HEADER, CloudOptions(stride, edge_filter))
    if edge_filter:
        depth = np.where(flying_pixels(depth, jump=edge_filter), np.float32(np.nan), depth)
    values = points_of(cloud)
    np.testing.assert_array_equal(values[..., :3], camera.unproject(depth)[::stride, ::stride])
    colours = values[..., 3].copy().view(np.uint32)
    np.testing.assert_array_equal(colours & 255, rgb[::stride, ::stride, 2])


@pytest.mark.parametrize(
    ("depth", "rgb"), [((3, 2), (3, 2, 3)), ((2, 3), (3, 2, 3)), ((2, 3), (2, 3))]
)
def test_a_cloud_needs_depth_and_a_colour_for_each_pixel(
    depth: tuple[int, ...], rgb: tuple[int, ...]
) -> None:
    camera = Camera(3, 2, 5.0, 5.0, 1.0, 1.0)
    with pytest.raises(ConversionError, match=r"points of depth of shape \(.*\(2, 3\)"):
        depth_to_cloud(np.ones(depth, np.float32), np.zeros(rgb, np.uint8), camera, HEADER)


def test_a_cloud_is_filled_anew_by_one_of_its_size() -> None:
    first, second, smaller = scene(6, 8), scene(6, 8, seed=1), scene(3, 8)
    cloud = depth_to_cloud(*first, HEADER)
    again = depth_to_cloud(*second, HEADER, last=cloud)
    assert again is cloud
    assert again == depth_to_cloud(*second, HEADER)
    other = depth_to_cloud(*smaller, HEADER, last=again)
    assert other is not again
    assert other == depth_to_cloud(*smaller, HEADER)
