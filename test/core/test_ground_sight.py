"""Ground in depth images, and the watch on their scale."""

import itertools
import math

import numpy as np
import pytest

from depthformer_core.errors import DepthFormerError
from depthformer_core.geometry.camera import Camera
from depthformer_core.geometry.ground_sight import see_ground
from depthformer_core.geometry.scale_watch import ScaleWatch
from depthformer_core.inference.rotate import rotate_image
from depthformer_core.synthetic import Mount, Scene, street_camera
from depthformer_core.synthetic.rendering.render import trace

CAMERA = street_camera(312, 94, focal=181.3)
LEVEL = (0.0, -1.0, 0.0)
CAR = Mount()
MOUNTS = [Mount(0.5, 0.0), Mount(1.65, math.radians(-2)), Mount(2.4, math.radians(-8))]
NAMES = ["low", "car", "lorry"]


def up_of(mount):
    """Up of the road where the vehicle stands, in the optical frame."""
    return (0.0, -math.cos(mount.pitch), math.sin(mount.pitch))


def seen_depth(scene, mount, s=0.0, camera=CAMERA):
    view = trace(scene, camera, mount.pose(scene, s))
    depth = 1 / np.maximum(view.hits.nearness, 1e-9)
    return np.where(depth < 200, depth, np.nan).astype(np.float32)


def profile(heights, starts, *, camera=CAMERA, mount=CAR):
    """Depth of ground whose height over the vehicle's is linear between distances ahead, metres."""
    _, down = camera.slopes()
    pitch = mount.pitch
    fall = np.tan(np.arctan(down.astype(np.float64)) - pitch)
    reach = np.geomspace(0.3, 150, 4000)
    rise = np.interp(reach, starts, heights)
    depth = np.full(len(down), np.nan)
    for row, slope in enumerate(fall):
        # The first place at which the ray is under the ground.
        under = np.flatnonzero(mount.height - slope * reach <= rise)
        if len(under):
            ahead = reach[under[0]]
            depth[row] = ahead * math.cos(pitch) - slope * ahead * math.sin(pitch)
    return np.repeat(depth[:, None], camera.width, axis=1).astype(np.float32)


@pytest.mark.parametrize("mount", MOUNTS, ids=NAMES)
@pytest.mark.parametrize("seed", [3, 12, 21])
def test_generated_streets(mount, seed):
    depth = seen_depth(Scene(seed), mount)
    sight = see_ground(depth, CAMERA, up=up_of(mount))
    assert sight is not None
    assert sight.is_sure
    assert sight.height == pytest.approx(mount.height, rel=0.03)
    for scale in (0.3, 1.27, 4.0):
        other = see_ground(depth * np.float32(scale), CAMERA, up=up_of(mount))
        assert other.height == pytest.approx(scale * sight.height, rel=1e-3)


@pytest.mark.parametrize("nod", [-1.5, -0.7, 0.7, 1.5])
@pytest.mark.parametrize("mount", MOUNTS, ids=NAMES)
def test_a_camera_that_nods(mount, nod):
    """A vehicle that brakes turns the camera, and the mount knows nothing of it."""
    really = Mount(mount.height, mount.pitch + math.radians(nod))
    sight = see_ground(profile([0, 0], [0, 100], mount=really), CAMERA, up=up_of(mount))
    assert sight is not None
    assert sight.height == pytest.approx(mount.height, rel=0.08)


@pytest.mark.parametrize("mount", MOUNTS, ids=NAMES)
def test_slopes_ahead_are_right_or_not_sure(mount):
    found = 0
    for angle, start in itertools.product((-12, -6, -3, -1, 1, 3, 6, 12), (0, 1, 2, 4, 7, 10)):
        start *= mount.height
        rise = 100 * math.tan(math.radians(angle))
        depth = profile([0, 0, rise], [0, start, start + 100], mount=mount)
        sight = see_ground(depth, CAMERA, up=up_of(mount))
        if sight is not None and sight.is_sure:
            found += 1
            assert 1 / 1.15 < sight.height / mount.height < 1.15, (angle, start)
    assert found > 10


def test_noise():
    rng = np.random.default_rng(5)
    depth = profile([0, 0], [0, 100]) * np.exp(rng.normal(0, 0.05, (94, 312)))
    for _ in range(3):
        depth[rng.random(depth.shape) < 0.3] = np.nan
        sight = see_ground(depth.astype(np.float32), CAMERA, up=LEVEL)
        assert sight.is_sure
        assert sight.height == pytest.approx(1.65, rel=0.03)


def test_a_camera_on_its_side():
    depth = seen_depth(Scene(3), MOUNTS[1])
    turned = Camera(94, 312, CAMERA.fy, CAMERA.fx, 93 - CAMERA.cy, CAMERA.cx)
    sight = see_ground(
        np.rot90(depth, 3), turned, up=(-up_of(MOUNTS[1])[1], 0, up_of(MOUNTS[1])[2])
    )
    assert sight.height == pytest.approx(1.65, rel=0.03)


@pytest.mark.parametrize("rows", [(40, 94), (0, 60)], ids=["top", "bottom"])
def test_depth_of_a_part(rows):
    depth = seen_depth(Scene(3), Mount())
    part = np.full_like(depth, np.nan)
    part[slice(*rows), 30:250] = depth[slice(*rows), 30:250]
    sight = see_ground(part, CAMERA, up=LEVEL)
    assert sight is None or sight.height == pytest.approx(1.65, rel=0.03)


def wall(distance):
    """Level ground with a wall across, metres ahead."""
    return np.fmin(profile([0, 0], [0, 100]), np.float32(distance))


def crowd():
    """Legs and backs of people who stand close, at all distances."""
    rng = np.random.default_rng(1)
    depth = profile([0, 0], [0, 100])
    for _ in range(60):
        left, width = rng.integers(0, 300), rng.integers(6, 20)
        depth[:, left : left + width] = np.fmin(
            depth[:, left : left + width], np.float32(rng.uniform(1.5, 8))
        )
    return depth


@pytest.mark.parametrize(
    "depth",
    [
        pytest.param(np.full((94, 312), np.nan, np.float32), id="nothing"),
        pytest.param(np.full((94, 312), np.inf, np.float32), id="far"),
        pytest.param(np.zeros((94, 312), np.float32), id="zero"),
        pytest.param(np.full((94, 312), 1e-30, np.float32), id="tiny"),
        pytest.param(np.full((94, 312), 4.0, np.float32), id="a wall"),
        pytest.param(wall(3.0), id="a wall near"),
        pytest.param(crowd(), id="a crowd"),
        pytest.param(
            np.random.default_rng(0).uniform(1, 80, (94, 312)).astype(np.float32), id="noise"
        ),
    ],
)
@pytest.mark.filterwarnings("error")
def test_no_ground(depth):
    sight = see_ground(depth, CAMERA, up=LEVEL)
    assert sight is None or not sight.is_sure


@pytest.mark.parametrize("up", [(0.0, 0.0, -1.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 0, 0)])
def test_cameras_that_see_no_ground_ahead(up):
    assert see_ground(profile([0, 0], [0, 100]), CAMERA, up=up) is None


def test_a_camera_that_looks_straight_down():
    depth = np.full((94, 312), 1.2, np.float32)
    sight = see_ground(depth, CAMERA, up=(0.0, 0.0, -1.0))
    assert sight is None or sight.height == pytest.approx(1.2)


def test_size():
    with pytest.raises(DepthFormerError, match="depth has shape"):
        see_ground(np.ones((10, 20), np.float32), CAMERA, up=LEVEL)


def wrong(ratio):
    """The camera as a wrong camera_info has it."""
    camera = CAMERA
    return Camera(312, 94, camera.fx * ratio, camera.fy * ratio, camera.cx, camera.cy)


@pytest.mark.parametrize("mount", MOUNTS, ids=NAMES)
@pytest.mark.parametrize("ratio", [0.75, 1.25])
@pytest.mark.parametrize("known", [True, False], ids=["known up", "learned up"])
def test_right_depth_under_a_wrong_focal_length(mount, ratio, known):
    up = up_of(mount) if known else None
    watch = ScaleWatch(mount.height, up=up)
    scene = Scene(13, length=50)
    depths = [seen_depth(scene, mount, s) for s in (0, 5, 10)]
    for frame in range(30):
        watch.add(frame / 10, depths[frame % 3], CAMERA)
    assert watch.reading.state == "fine"
    assert watch.reading.scale == pytest.approx(1, abs=0.05)
    for frame in range(30, 60):
        watch.add(frame / 10, depths[frame % 3], wrong(ratio))
    assert watch.reading.state == "off"
    assert (watch.reading.scale > 1) == (ratio < 1)


def test_wrong_depth_under_the_same_wrong_focal_length():
    """A network that resizes to a wrong focal length errs by it along the axis alone."""
    depth = seen_depth(Scene(13), Mount())
    for ratio in (0.75, 1.25):
        sight = see_ground(depth * np.float32(ratio), wrong(ratio), up=LEVEL)
        assert sight.height == pytest.approx(1.65, rel=0.03)


def test_several_frames_speak():
    depth = profile([0, 0], [0, 100])
    watch = ScaleWatch(1.32, up=LEVEL)
    states = [watch.reading.state]
    for frame in range(8):
        watch.add(frame / 10, depth, CAMERA)
        states.append(watch.reading.state)
    assert states == ["unknown"] * 5 + ["off"] * 4
    assert watch.reading.scale == pytest.approx(1.25, abs=0.01)
    assert watch.reading.height == pytest.approx(1.65, abs=0.01)
    assert watch.reading.frames == watch.reading.with_ground == 8


def test_ground_lost():
    depth, nothing = profile([0, 0], [0, 100]), np.full((94, 312), 4.0, np.float32)
    watch = ScaleWatch(1.65, up=LEVEL)
    for frame in range(30):
        assert watch.add(frame / 10, depth, CAMERA) == pytest.approx(1, abs=0.02)
    for frame in range(30, 60):
        assert math.isnan(watch.add(frame / 10, nothing, CAMERA))
    reading = watch.reading
    assert (reading.state, reading.with_ground) == ("unknown", 0)
    assert math.isnan(reading.scale)
    assert math.isnan(reading.height)


@pytest.mark.parametrize("seconds", [1.0, 0.1, 1 / 30, 0.001])
def test_slow_and_fast_cameras(seconds):
    depth = profile([0, 0], [0, 100])
    watch = ScaleWatch(1.65, up=LEVEL)
    for frame in range(20):
        watch.add(frame * seconds, depth, CAMERA)
    assert watch.reading.state == "fine"
    # A clock that jumps back or stands still starts again.
    watch.add(-1.0, depth, CAMERA)
    assert watch.reading.state == "unknown"
    assert watch.reading.frames == 1


def test_a_wide_view_with_a_learned_direction():
    mount = Mount(0.4, math.radians(-20))
    watch = ScaleWatch(0.4)
    depth = profile([0, 0], [0, 100], mount=mount)
    for frame in range(30):
        watch.add(frame / 10, depth, CAMERA)
    assert watch.reading.scale == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_learned_direction_of_a_rotated_camera(degrees):
    depth = profile([0, 0], [0, 100])
    watches = ScaleWatch(1.65, rotate=degrees), ScaleWatch(1.65)
    for frame in range(20):
        for watch in watches:
            rotated = rotate_image(depth, -degrees)
            watch.add(frame / 10, rotated, CAMERA.rotated(-degrees))
    assert watches[0].reading.scale == pytest.approx(1, abs=0.03)
    assert watches[1].reading.state == "unknown"


@pytest.mark.parametrize("degrees", [-90, 45, 360])
def test_rotations_that_are_none(degrees):
    with pytest.raises(DepthFormerError, match="rotate must be one of"):
        ScaleWatch(1.65, rotate=degrees)


@pytest.mark.parametrize("height", [0.0, -1.0, math.nan, math.inf])
def test_heights_that_are_none(height):
    with pytest.raises(DepthFormerError, match="camera must be above the ground"):
        ScaleWatch(height)
