"""A vehicle that drives by what it sees: its parts."""

import math

import numpy as np
import pytest

from depthformer_core.errors import DepthFormerError
from depthformer_core.geometry.camera import Camera
from depthformer_core.studies.closed_loop.controller import StopController, corridor_distance
from depthformer_core.studies.closed_loop.footprints import (
    Rectangles,
    footprints,
    free_distance,
    overlap,
    vehicle_at,
)
from depthformer_core.studies.closed_loop.obstacle_layer import (
    Cell,
    LayerOptions,
    ObstacleLayer,
    points_over_ground,
)
from depthformer_core.studies.closed_loop.vehicle import Course, Motion, Pose, Vehicle
from depthformer_core.synthetic.scene.solids import Builder, Material

VEHICLE = Vehicle()
ORIGIN = Pose(0.0, 0.0, 0.0)
HEIGHT = 1.65


def straight() -> Course:
    return Course(VEHICLE, np.stack((np.zeros(100), np.arange(100.0)), axis=1), length=40.0)


def rectangle(x: float, z: float, width: float, length: float, yaw: float = 0.0) -> Rectangles:
    return Rectangles(
        np.array([(x, z)]), np.array([(width / 2, length / 2)]), np.array([float(yaw)])
    )


def test_a_steered_bicycle_drives_a_circle() -> None:
    radius = VEHICLE.wheelbase / math.tan(0.2)
    pose = ORIGIN
    for _ in range(100):
        pose = VEHICLE.roll(pose, 0.2, radius * math.pi / 100)
        assert math.hypot(pose.x - radius, pose.z) == pytest.approx(radius)
    # Half of a circle to the right.
    assert (pose.x, pose.z, pose.yaw) == pytest.approx((2 * radius, 0.0, math.pi), abs=1e-9)
    ahead = VEHICLE.roll(ORIGIN, 0.0, 3.0)
    assert (ahead.x, ahead.z, ahead.yaw) == (0.0, 3.0, 0.0)


def test_a_course_follows_a_bending_lane() -> None:
    angle = np.linspace(0, 1.0, 120)
    lane = 60.0 * np.stack((1 - np.cos(angle), np.sin(angle)), axis=1)
    course = Course(VEHICLE, lane, length=40.0)
    places = course.at(np.arange(0.0, 40.0, 1.0))
    radius = np.hypot(places[:, 0] - 60.0, places[:, 1])
    assert np.abs(radius - 60.0).max() < 0.25
    steps = np.hypot(*np.diff(places[:, :2], axis=0).T)
    np.testing.assert_allclose(steps, 1.0, atol=1e-3)
    # Its steering angle is limited.
    turns = np.abs(np.diff(course.at(np.arange(0.0, 40.0, 0.1))[:, 2])) / 0.1
    assert turns.max() <= math.tan(VEHICLE.steering) / VEHICLE.wheelbase + 1e-9
    # Beyond its ends it goes straight on.
    before, end = course.pose(-2.0), course.pose(0.0)
    assert math.hypot(before.x - end.x, before.z - end.z) == pytest.approx(2.0)


def test_motion_brakes_to_a_stand_and_cruises() -> None:
    motion = Motion(0.0, 7.0)
    for _ in range(40):
        motion = motion.after(0.05, acceleration=-4.0, cruise=7.0)
    assert motion.speed == 0.0
    assert motion.s == pytest.approx(7.0**2 / (2 * 4.0))
    once = Motion(0.0, 7.0).after(5.0, acceleration=-4.0, cruise=7.0)
    assert (once.s, once.speed) == (pytest.approx(motion.s), 0.0)
    up = Motion(0.0, 5.0).after(2.0, acceleration=2.0, cruise=7.0)
    assert (up.s, up.speed) == (pytest.approx(6.0 + 7.0), 7.0)
    assert Motion(1.0, 3.0).after(2.0, acceleration=0.0, cruise=7.0) == Motion(7.0, 3.0)


def test_stopping_distance_is_reaction_braking_and_what_is_kept() -> None:
    distance = VEHICLE.stopping_distance(8.0)
    assert distance == pytest.approx(8.0 * 0.4 + 8.0**2 / 8.0 + 1.5)
    assert VEHICLE.stopping_distance(0.0) == VEHICLE.standoff


@pytest.mark.parametrize(
    ("other", "met"),
    [
        (rectangle(0.0, 0.0, 0.1, 0.1), True),
        (rectangle(1.45, 0.0, 1.0, 4.0), False),
        (rectangle(1.35, 0.0, 1.0, 4.0), True),
        # A turned square reaches farther, and its corner comes first.
        (rectangle(1.55, 0.0, 1.0, 1.0, math.pi / 4), True),
        (rectangle(1.65, 0.0, 1.0, 1.0, math.pi / 4), False),
        # Corners pass one another: only an axis of the turned one separates them.
        (rectangle(1.0, 2.4, 1.0, 4.0, -math.pi / 4), True),
        (rectangle(1.4, 3.0, 1.0, 4.0, -math.pi / 4), False),
    ],
)
def test_rectangles_overlap(other: Rectangles, met: bool) -> None:
    one = rectangle(0.0, 0.0, 1.8, 4.0)
    assert overlap(one, other) == [[met]]
    assert overlap(other, one) == [[met]]


def test_overlap_agrees_with_points_of_both() -> None:
    rng = np.random.default_rng(0)
    many = Rectangles(
        rng.uniform(-3, 3, (60, 2)), rng.uniform(0.3, 2, (60, 2)), rng.uniform(0, 7, 60)
    )
    found = overlap(many, many)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 60)] * 2), axis=-1).reshape(-1, 2)
    sine, cosine = np.sin(many.yaw), np.cos(many.yaw)
    for i in range(len(many)):
        x, z = (grid * many.half[i]).T
        x, z = x * cosine[i] + z * sine[i], z * cosine[i] - x * sine[i]
        away_x = x + many.centre[i, 0] - many.centre[:, :1]
        away_z = z + many.centre[i, 1] - many.centre[:, 1:]
        right = away_x * cosine[:, None] - away_z * sine[:, None]
        ahead = away_x * sine[:, None] + away_z * cosine[:, None]
        inside = (np.abs(right) <= many.half[:, :1]) & (np.abs(ahead) <= many.half[:, 1:])
        # A shared point shows an overlap; nearly touching ones may share none of the grid's.
        assert found[i][inside.any(axis=1)].all()
        assert (found[i] == inside.any(axis=1)).mean() > 0.9
    np.testing.assert_array_equal(found, found.T)


def test_the_way_is_free_up_to_a_body() -> None:
    course = straight()
    wall = rectangle(0.5, 20.0, 3.0, 0.4)
    assert free_distance(wall, course, 0.0, reach=30.0) == pytest.approx(20 - 0.2 - 3.3, abs=0.11)
    assert free_distance(wall, course, 10.0, reach=30.0) == pytest.approx(6.5, abs=0.11)
    assert free_distance(wall, course, 0.0, reach=16.0) is None
    beside = rectangle(2.0, 20.0, 1.8, 4.0)
    assert free_distance(beside, course, 0.0, reach=30.0) is None
    assert free_distance(beside, course, 0.0, reach=30.0, margin=0.3) is not None
    assert overlap(vehicle_at(course, 16.6), wall).any()


def test_only_bodies_that_a_vehicle_meets_have_footprints() -> None:
    builder = Builder()
    places = [(0.0, 0.0, 10.0), (30.0, 0.0, 10.0), (0.0, 1000.0, 10.0)]
    builder.add(
        Material.PLAIN,
        origin=np.array(places),
        yaw=0.3,
        low=(-1.0, 0.0, -0.5),
        high=(1.0, 1.0, 1.5),
        colour=0.5,
    )
    for low, high in ((2.5, 4.0), (0.0, 0.1)):  # a bridge and a kerb
        builder.add(
            Material.PLAIN,
            origin=np.array(places[:1]),
            yaw=0.0,
            low=(-1.0, low, -1.0),
            high=(1.0, high, 1.0),
            colour=0.5,
        )
    found = footprints(builder.build(), straight())
    assert len(found) == 1
    np.testing.assert_allclose(found.centre, [(0.5 * math.sin(0.3), 10 + 0.5 * math.cos(0.3))])
    np.testing.assert_allclose(found.half, [(1.0, 1.0)])


def layer(**options: object) -> ObstacleLayer:
    return ObstacleLayer(LayerOptions(**options), low=(-10.0, -10.0), high=(10.0, 30.0))  # type: ignore[arg-type]


def cell(grid: ObstacleLayer, x: float, z: float) -> int:
    return int(grid.cells[int((z + 10) / 0.2), int((x + 10) / 0.2)])


def test_points_mark_and_rays_clear() -> None:
    grid = layer()
    assert (grid.cells == Cell.UNKNOWN).all()
    wall = np.array([(0.1, 8.1, 1.0)], np.float32)
    grid.update(wall, ORIGIN, camera_height=HEIGHT)
    assert cell(grid, 0.1, 8.1) == Cell.OBSTACLE
    assert cell(grid, 0.1, 4.1) == Cell.FREE
    # Nothing is known behind it, nor beside.
    assert cell(grid, 0.1, 12.1) == Cell.UNKNOWN
    assert cell(grid, 3.1, 8.1) == Cell.UNKNOWN
    np.testing.assert_allclose(grid.obstacles(), [(0.1, 8.1)])
    # Without a ray through it, a cell stays marked.
    for points in (np.empty((0, 3), np.float32), np.array([(3.1, 12.1, 1.0)], np.float32)):
        grid.update(points, ORIGIN, camera_height=HEIGHT)
        assert cell(grid, 0.1, 8.1) == Cell.OBSTACLE
    # A point that is farther does not mark but clears, up to the range of raytracing.
    grid.update(np.array([(0.1, 28.0, 1.0)], np.float32), ORIGIN, camera_height=HEIGHT)
    assert cell(grid, 0.1, 8.1) == Cell.FREE
    assert cell(grid, 0.1, 24.5) == Cell.FREE
    assert cell(grid, 0.1, 26.1) == Cell.UNKNOWN
    assert cell(grid, 0.1, 28.0) == Cell.UNKNOWN


def test_heights_of_points_that_mark_and_of_those_that_clear() -> None:
    ground = np.array([(0.1, 12.1, 0.0), (2.1, 8.1, 2.5)], np.float32)
    wall = np.array([(0.1, 8.1, 1.0)], np.float32)
    for heights, expected in (((0.35, 2.0), Cell.OBSTACLE), ((-10.0, 20.0), Cell.FREE)):
        grid = layer(clearing_heights=heights)
        grid.update(wall, ORIGIN, camera_height=HEIGHT)
        grid.update(ground, ORIGIN, camera_height=HEIGHT)
        assert cell(grid, 0.1, 8.1) == expected
        assert cell(grid, 0.1, 12.1) != Cell.OBSTACLE
        assert cell(grid, 2.1, 8.1) != Cell.OBSTACLE


def test_near_cells_are_not_cleared_within_the_smallest_range() -> None:
    grid = layer(raytrace_min_range=3.0)
    near, far = (np.array([(0.1, z, 1.0)], np.float32) for z in (2.1, 8.1))
    for points in (near, far, np.array([(0.1, 12.1, 1.0)], np.float32)):
        grid.update(points, ORIGIN, camera_height=HEIGHT)
    assert cell(grid, 0.1, 2.1) == Cell.OBSTACLE
    assert cell(grid, 0.1, 1.1) == Cell.UNKNOWN
    assert cell(grid, 0.1, 8.1) == cell(grid, 0.1, 3.5) == Cell.FREE


def test_a_layer_is_of_the_world_not_of_the_camera() -> None:
    grid = layer()
    turned = Pose(2.0, 1.0, math.pi / 2)  # it looks along x
    grid.update(np.array([(-4.0, 5.0, 1.0)], np.float32), turned, camera_height=HEIGHT)
    assert grid.obstacles() == pytest.approx(np.array([(7.0, 5.0)]), abs=0.11)
    # Points outside are left out.
    grid.update(np.array([(0.0, 15.0, 1.0)], np.float32), turned, camera_height=HEIGHT)
    assert len(grid.obstacles()) <= 1


def test_points_of_a_depth_image_stand_over_the_ground() -> None:
    camera = Camera(40, 30, 40.0, 40.0, 19.5, 9.5)
    _, down = camera.slopes()
    with np.errstate(divide="ignore"):
        road = np.where(down > 0, HEIGHT / down, np.nan)[:, None] * np.ones(40)
    road = road.astype(np.float32)
    points = points_over_ground(road, camera, camera_height=HEIGHT)
    assert len(points) == 20 * 40
    np.testing.assert_allclose(points[:, 2], 0.0, atol=1e-5)
    assert len(points_over_ground(road, camera, camera_height=HEIGHT, stride=2)) == 10 * 20


def test_layer_options_are_checked() -> None:
    with pytest.raises(DepthFormerError, match="resolution must be positive, got 0 m"):
        LayerOptions(resolution=0)
    with pytest.raises(DepthFormerError, match="heights must rise, got 2 and 1 m"):
        LayerOptions(min_obstacle_height=2, max_obstacle_height=1)


def test_corridor_holds_what_the_front_bumper_passes_over() -> None:
    course = straight()
    for x, z, expected in (
        (0.0, 10.0, 6.7),
        (1.1, 10.0, 6.7),
        (-1.1, 10.0, 6.7),
        (1.3, 10.0, None),
        (0.0, 3.0, None),  # under the vehicle
        (0.0, 14.0, None),  # beyond the reach
    ):
        cells = np.array([(x, z), (5.0, 5.0)])
        found = corridor_distance(cells, course, 0.0, reach=10.0, margin=0.3)
        assert found == (None if expected is None else pytest.approx(expected, abs=0.11))
    assert corridor_distance(np.empty((0, 2)), course, 0.0, reach=10.0, margin=0.3) is None


def test_corridor_bends_with_the_course() -> None:
    angle = np.linspace(0, 1.5, 120)
    lane = 25.0 * np.stack((1 - np.cos(angle), np.sin(angle)), axis=1)
    course = Course(VEHICLE, lane, length=25.0)
    on_course = course.at(12.0)[None, :2]
    assert corridor_distance(on_course, course, 0.0, reach=12.0, margin=0.3) is not None
    straight_on = np.array([(0.0, 12.0)])
    assert corridor_distance(straight_on, course, 0.0, reach=12.0, margin=0.3) is None


def test_the_brake_is_released_after_a_while() -> None:
    controller = StopController(release=2)
    seen = [None, 5.0, None, 4.0, None, None, None, 3.0]
    assert [controller.decide(distance) for distance in seen] == [
        *(False, True, True, True),
        *(True, False, False, True),
    ]
