"""Clouds for costmaps, on the node's topics: clearing rays, and points that are certain."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from depthformer_core.geometry.cloud import CloudOptions, cloud_depth

from .robots import calibrated, depth_of, points_of

NO_UNCERTAINTY = "points.max_uncertainty has no effect: the network predicts no uncertainty"


def test_clearing_gives_rays_without_a_hit_a_point_at_the_largest_depth(robot: Any) -> None:
    image = robot.image()
    metres = depth_of(robot.prediction(image))
    near, far = (float(limit) for limit in np.quantile(metres, (0.2, 0.6)))
    options = {"points__clearing": True, "points__edge_filter": 0.02}
    assert robot.set(depth__min=near, depth__max=far, **options).successful
    try:
        robot.stamp(image)
        depth = depth_of(robot.prediction(image))
        cloud = points_of(robot.partner(image, robot.clouds))
    finally:
        unset = {"points__clearing": False, "points__edge_filter": 0.0}
        assert robot.set(depth__min=0.0, depth__max=0.0, **unset).successful
    expected = cloud_depth(depth, CloudOptions(1, 0.02, clearing=True), max_depth=far)
    np.testing.assert_array_equal(cloud[..., 2], expected)
    cleared = np.isinf(depth) & np.isfinite(expected)
    assert cleared.any()
    assert (expected[cleared] == np.float32(far)).all()
    # The depth image itself says so as before.
    assert np.isposinf(depth[cleared]).all()
    assert np.isnan(cloud[np.isneginf(depth)]).any(axis=-1).all()
    # On the ray of its pixel.
    across = (np.arange(96) - 47.0) / 80.0 * far
    np.testing.assert_allclose(
        cloud[..., 0][cleared], np.broadcast_to(across, depth.shape)[cleared], atol=1e-4
    )


def test_a_limit_of_uncertainty_without_one_has_no_effect_and_says_so(robot: Any) -> None:
    image = robot.image()
    robot.prediction(image)
    before = points_of(robot.partner(image, robot.clouds))
    assert robot.set(points__max_uncertainty=0.1).successful
    try:
        robot.stamp(image)
        robot.prediction(image)
        cloud = points_of(robot.partner(image, robot.clouds))
        status = robot.diagnosed(lambda status: NO_UNCERTAINTY in status.message)
        robot.process.wait_for_log(NO_UNCERTAINTY)
    finally:
        assert robot.set(points__max_uncertainty=0.0).successful
    assert status.level == b"\1"
    np.testing.assert_array_equal(cloud, before)
    robot.diagnosed(lambda status: NO_UNCERTAINTY not in status.message)
    assert robot.process.log.count(NO_UNCERTAINTY) == 1


@pytest.mark.slow
def test_points_are_certain(start_robot: Callable[..., Any]) -> None:
    robot = start_robot(
        input__crop="none", input__rectify="never", flip=True, points__edge_filter=0.0
    )
    robot.calibrate(calibrated())
    image = robot.image()
    metres = depth_of(robot.prediction(image))
    spread = depth_of(robot.partner(image, robot.spreads))
    share, far = float(np.median(spread / metres)), float(np.median(metres))
    assert robot.set(points__max_uncertainty=share).successful
    robot.stamp(image)
    robot.prediction(image)
    cloud = points_of(robot.partner(image, robot.clouds))
    certain = spread <= np.float32(share) * metres
    np.testing.assert_array_equal(cloud[..., 2], np.where(certain, metres, np.nan))
    # The uncertainty of the distance is a share of its own depth, not of depth.max.
    assert robot.set(points__clearing=True, depth__max=far).successful
    robot.stamp(image)
    depth = depth_of(robot.prediction(image))
    cloud = points_of(robot.partner(image, robot.clouds))
    expected = np.where(certain, np.minimum(metres, np.float32(far)), np.nan)
    np.testing.assert_array_equal(cloud[..., 2], expected)
    assert (np.isinf(depth) & certain).any()
    assert (np.isinf(depth) & ~certain).any()
