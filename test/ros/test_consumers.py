"""Other packages understand the node's depth and points."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from consumers import (
    Observation,
    ObstacleLayer,
    depth_points,
    laser_scan,
    points_of_cloud,
    ray_cells,
)

pytest.importorskip("rclpy", reason="needs ROS 2")

import rclpy
from std_msgs.msg import Header

from depthformer_core.geometry.camera import Camera
from depthformer_ros.messages.cloud import CloudOptions, depth_to_cloud
from depthformer_ros.messages.conversions import camera_info_of, depth_to_image, mark_range
from depthformer_ros.node.parameters import declare_parameters, unknown_parameters

NAN, INF = math.nan, math.inf
HEADER = Header(frame_id="eye")
# 10 m is REP 117's way to say "nothing nearer": it becomes +Inf.
FAR = 10.0
CAMERA = Camera(9, 5, 8.0, 8.0, 4.0, 2.5)
DEPTH = np.array(
    [
        [9, 9, 9, 9, 9, 9, 9, 9, 9],
        [4, NAN, INF, 2, 20, 3, -INF, 0.2, 6],
        [5, NAN, NAN, 4, INF, NAN, 2, NAN, 7],
        [1, INF, NAN, 1, 0.1, NAN, NAN, 3, 8],
        [9, 9, 9, 9, 9, 9, 9, 9, 9],
    ],
    np.float32,
)


def picture(depth: Any, *, encoding: str = "32FC1") -> Any:
    return depth_to_image(depth, HEADER, encoding=encoding)


@pytest.mark.parametrize(
    ("encoding", "rows", "ranges"),
    [
        # Numbers of the C++ code: ranges from right to left, the nearest of the rows, and an
        # infinity rather than nothing.
        pytest.param(
            "32FC1", 1, [7.82624, 2.06155, NAN, NAN, INF, 4.03113, NAN, NAN, 5.59017], id="row"
        ),
        pytest.param(
            "32FC1", 3, [3.204, 2.06155, 3.02335, NAN, INF, 1.00778, INF, INF, 1.11803], id="rows"
        ),
        pytest.param(
            "16UC1", 3, [3.204, 2.06155, 3.02335, NAN, NAN, 1.00778, NAN, NAN, 1.11803], id="mm"
        ),
    ],
)
def test_a_scan_of_the_depth_is_that_of_the_sources(
    encoding: str, rows: int, ranges: list[float]
) -> None:
    info = camera_info_of(CAMERA, HEADER)
    scan = laser_scan(picture(DEPTH, encoding=encoding), info, rows=rows, nearest=0.3, farthest=FAR)
    assert (scan.angle_min, scan.angle_max) == pytest.approx((-0.4636476, 0.4636476))
    np.testing.assert_allclose(scan.ranges, ranges, rtol=1e-5)


def test_depth_beyond_the_limit_is_a_free_ray_of_a_scan() -> None:
    wall = np.full((5, 9), 30.0, np.float32)
    marked = mark_range(wall, min_depth=0.0, max_depth=FAR)
    info = camera_info_of(CAMERA, HEADER)
    scan = laser_scan(picture(marked), info, nearest=0.3, farthest=FAR)
    # inf_is_valid of an obstacle layer takes these for free; without depth.max they are nothing.
    assert np.isposinf(scan.ranges[[0, 1, 7, 8]]).all()
    assert np.isnan(laser_scan(picture(wall), info, nearest=0.3, farthest=FAR).ranges).all()


@pytest.mark.parametrize("encoding", ["32FC1", "16UC1"])
def test_points_of_the_depth_are_the_nodes_points(encoding: str) -> None:
    random = np.random.default_rng(0)
    camera = Camera(12, 7, 10.0, 11.0, 5.3, 3.1)
    depth = random.uniform(0.5, 60, (7, 12)).astype(np.float32)
    depth[random.random(depth.shape) < 0.3] = np.nan
    rgb = np.zeros((7, 12, 3), np.uint8)
    ours = points_of_cloud(depth_to_cloud(depth, rgb, camera, HEADER)).reshape(7, 12, 3)
    theirs = depth_points(picture(depth, encoding=encoding), camera_info_of(camera, HEADER))
    tolerance = 1e-5 if encoding == "32FC1" else 2e-3
    np.testing.assert_allclose(theirs, ours, atol=tolerance, rtol=1e-5)
    if encoding == "32FC1":
        np.testing.assert_array_equal(np.isnan(theirs), np.isnan(ours))


@pytest.mark.parametrize(
    ("end", "longest", "cells"),
    [
        # Cells of the C++ code.
        pytest.param(
            (20, 13),
            INF,
            list(zip(range(10, 21), [10, 10, 11, 11, 11, 12, 12, 12, 12, 13, 13], strict=True)),
            id="along x",
        ),
        pytest.param(
            (3, 18),
            INF,
            [(10, 10), (9, 11), (8, 12), (7, 13), (6, 14), (6, 15), (5, 16), (4, 17), (3, 18)],
            id="along y",
        ),
        pytest.param((20, 13), 5, [(10, 10), (11, 10), (12, 11), (13, 11), (14, 11)], id="short"),
        pytest.param(
            (12, 20),
            6,
            [(10, 10), (10, 11), (10, 12), (11, 13), (11, 14), (11, 15)],
            id="short along y",
        ),
        pytest.param((10, 10), INF, [(10, 10)], id="one cell"),
    ],
)
def test_a_ray_clears_the_cells_of_the_sources(
    end: tuple[int, int], longest: float, cells: list[tuple[int, int]]
) -> None:
    assert list(ray_cells((10, 10), end, longest=longest)) == cells


# A camera 1 m over the floor that looks along x of the map.
POSE = np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 1], [0, 0, 0, 1]], np.float64)
SMALL = Camera(48, 36, 40.0, 40.0, 23.5, 17.5)


def room(*, box: bool) -> Any:
    """Depth of a floor 30 m deep, with a box of 1 m 4 m ahead, or without."""
    depth = np.full((36, 48), 30.0, np.float32)
    _, down = SMALL.slopes()
    floor = down > 1 / 30
    depth[floor] = (1 / down[floor])[:, None]
    if box:
        depth[12:28, 20:28] = np.minimum(depth[12:28, 20:28], 4.0)
    return mark_range(depth, min_depth=0.0, max_depth=FAR)


CONFIGURATION = Path(__file__).parents[2] / "config" / "nav2_depth.yaml"


def costmap_parameters() -> dict[str, Any]:
    values = yaml.safe_load(CONFIGURATION.read_text())["local_costmap"]["local_costmap"]
    return dict(values["ros__parameters"])


def test_the_node_reads_its_part_of_the_configuration() -> None:
    context = rclpy.Context()
    rclpy.init(args=["--ros-args", "--params-file", str(CONFIGURATION)], context=context)
    try:
        node = rclpy.create_node("depthformer", namespace="robot", context=context)
        parameters = declare_parameters(node)
        assert unknown_parameters(node) == []
    finally:
        context.try_shutdown()
    assert parameters.points_clearing
    costmap = costmap_parameters()
    for name in ("voxel_layer", "obstacle_layer"):
        layer = costmap[name]
        sources = [layer[source] for source in layer["observation_sources"].split()]
        assert {source["topic"] for source in sources} == {"/points"}
        reaches = [source["obstacle_max_range"] for source in sources if source["marking"]]
        assert max(reaches) < parameters.depth_max


def layer(**changes: Any) -> ObstacleLayer:
    """The obstacle layer of config/nav2_depth.yaml."""
    costmap = costmap_parameters()
    source = costmap["obstacle_layer"]
    sources = {
        name: Observation(
            source[name]["min_obstacle_height"], source[name]["max_obstacle_height"], reach
        )
        for name, reach in (
            ("points_mark", source["points_mark"]["obstacle_max_range"]),
            ("points_clear", source["points_clear"]["raytrace_max_range"]),
        )
    }
    parts = {"marking": sources["points_mark"], "clearing": sources["points_clear"], **changes}
    return ObstacleLayer(costmap["width"], costmap["resolution"], **parts)


def cloud(depth: Any, **options: Any) -> Any:
    rgb = np.zeros((*depth.shape, 3), np.uint8)
    return depth_to_cloud(depth, rgb, SMALL, HEADER, CloudOptions(**options), max_depth=FAR)


def test_an_obstacle_layer_marks_the_box_and_not_the_floor() -> None:
    costmap = layer()
    costmap.update(cloud(room(box=True)), POSE)
    marked = np.argwhere(costmap.lethal)
    assert len(marked) >= 5
    x, y = (marked * costmap.resolution - 8.0).T
    assert (abs(x - 4.0) <= 0.15).all()
    assert (abs(y) <= 0.5).all()


@pytest.mark.parametrize("clearing", [False, True])
def test_what_has_gone_is_cleared_by_free_rays(clearing: bool) -> None:
    costmap = layer()
    costmap.update(cloud(room(box=True), clearing=clearing), POSE)
    before = costmap.lethal.sum()
    # The floor behind was beyond depth.max, and is all that could have cleared it.
    after = room(box=False)
    after[18:] = np.inf
    costmap.update(cloud(after, clearing=clearing), POSE)
    assert costmap.lethal.sum() == (0 if clearing else before)


def test_points_of_free_rays_mark_nothing() -> None:
    costmap = layer()
    costmap.update(cloud(np.full((36, 48), np.inf, np.float32), clearing=True), POSE)
    assert not costmap.lethal.any()


def test_heights_of_a_source_cut_its_clearing_too() -> None:
    """Why the configuration has two sources for one topic."""
    floor = room(box=False)
    floor[:22] = np.nan  # what is left is the floor, up to 9 m
    for changes, cleared in (({}, True), ({"clearing": Observation(0.2, 2.0, 12.0)}, False)):
        costmap = layer(**changes)
        costmap.update(cloud(room(box=True)), POSE)
        costmap.update(cloud(floor), POSE)
        assert costmap.lethal.any() != cleared


def test_messages_of_the_node_belong_together(robot: Any) -> None:
    image = robot.image()
    depth = robot.prediction(image)
    info = robot.partner(image, robot.infos)
    points = robot.partner(image, robot.clouds)
    for message in (info, points):
        # Exact synchronization, and the transform of the obstacle layer, go by these.
        assert message.header == depth.header
    theirs = depth_points(depth, info).reshape(-1, 3)
    np.testing.assert_allclose(theirs, points_of_cloud(points), rtol=1e-5, atol=1e-5)
    scan = laser_scan(depth, info, rows=3, nearest=0.01, farthest=1000.0)
    assert np.isfinite(scan.ranges).sum() > 0.9 * depth.width
    assert scan.angle_max == pytest.approx(math.atan(info.k[2] / info.k[0]))
