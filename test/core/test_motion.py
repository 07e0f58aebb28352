"""Poses of moving frames at a time."""

import numpy as np
import pytest

from depthformer_core.bags.messages import transforms_message
from depthformer_core.geometry.transforms import FrameTree, TransformError
from depthformer_core.replay.motion import Motion

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
EAST = 500_000.0  # as in maps, where float32 would lose centimetres


def pose(*, yaw=0.0, offset=(0.0, 0.0, 0.0)):
    matrix = np.eye(4)
    angle = np.deg2rad(yaw)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = offset
    return matrix


CAMERA = pose(yaw=90, offset=(1, 0, 2))
LIDAR = pose(offset=(0, 0.5, 1))


def tree(*, base="base"):
    frames = FrameTree()
    links = [(base, "camera", CAMERA), (base, "lidar", LIDAR)]
    frames.add(transforms_message(links, stamp=START))
    return frames


def transform(seconds, matrix, *, parent="odom", child="base"):
    stamp = START + round(seconds * SECOND)
    return transforms_message([(parent, child, matrix)], stamp=stamp)


def drive(*stamped, keep=5.0, fixed="odom", **names):
    motion = Motion(tree(), fixed=fixed, keep=round(keep * SECOND))
    for seconds, matrix in stamped:
        motion.add(transform(seconds, matrix, **names), recorded=START)
    return motion


def at(motion, seconds, *, frame="base"):
    """Pose of a frame in odom at a time."""
    stamp = START + round(seconds * SECOND)
    return motion.matrix("odom", frame, target_stamp=stamp, source_stamp=stamp)


def size(motion):
    """Number of transforms that are held."""
    return {child: len(track._stamps) for child, track in motion._tracks.items()}


@pytest.mark.parametrize(
    ("first", "second", "share", "wanted"),
    [
        pytest.param(0, 90, 0.5, 45, id="half-way"),
        pytest.param(0, 120, 0.25, 30, id="a quarter"),
        pytest.param(170, -170, 0.5, 180, id="the shorter way"),
        pytest.param(10, 10, 0.5, 10, id="none"),
        pytest.param(10, 10.1, 0.5, 10.05, id="hardly any"),
        pytest.param(-179, 179, 0.75, 179.5, id="over the quaternion's border"),
    ],
)
def test_between_transforms(first, second, share, wanted):
    motion = drive((0, pose(yaw=first)), (0.1, pose(yaw=second, offset=(2, 4, -6))))
    offset = share * np.array([2, 4, -6])
    np.testing.assert_allclose(at(motion, 0.1 * share), pose(yaw=wanted, offset=offset), atol=1e-9)


def test_half_way_of_any_rotation():
    """The arc's middle: its rotation twice is that of the end."""
    rng = np.random.default_rng(5)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    end = np.eye(4)
    end[:3, :3] = turn * np.sign(np.linalg.det(turn))
    half = at(drive((0, np.eye(4)), (0.2, end)), 0.1)
    np.testing.assert_allclose(half @ half, end, atol=1e-9)


def test_a_point_is_seen_from_the_camera_that_moved_on():
    ahead, turned = pose(offset=(EAST, 10, 0)), pose(yaw=30, offset=(EAST + 3, 11, 0))
    motion = drive((0, ahead), (0.1, turned))
    wanted = np.linalg.inv(turned @ CAMERA) @ ahead @ LIDAR
    matrix = motion.matrix(
        "/camera", "lidar", target_stamp=START + SECOND // 10, source_stamp=START
    )
    np.testing.assert_allclose(matrix, wanted, atol=1e-8)


def test_chains_of_moving_and_static_frames_in_both_directions():
    """The map below the robot, as some localisations have it, and a LiDAR on a turntable."""
    motion = Motion(tree(), fixed="/map", keep=5 * SECOND)
    for seconds in (0, 0.1):
        motion.add(transform(seconds, pose(offset=(7, 0, 0)), child="map"), recorded=START)
        motion.add(transform(seconds, pose(yaw=900 * seconds), child="base"), recorded=START)
        tilt = pose(yaw=-900 * seconds, offset=(0, 0, 1))
        motion.add(transform(seconds, tilt, parent="lidar", child="head"), recorded=START)
    stamp = START + SECOND // 20
    matrix = motion.matrix("map", "head", target_stamp=stamp, source_stamp=stamp)
    wanted = pose(offset=(-7, 0, 0)) @ pose(yaw=45) @ LIDAR @ pose(yaw=-45, offset=(0, 0, 1))
    np.testing.assert_allclose(matrix, wanted, atol=1e-9)


def test_order_of_coming_does_not_matter():
    stamped = [(0.1 * k, pose(yaw=k * k, offset=(k, 0, 0))) for k in range(6)]
    wanted = at(drive(*stamped), 0.25)
    np.testing.assert_array_equal(
        at(drive(*(stamped[k] for k in (0, 2, 1, 5, 3, 4))), 0.25), wanted
    )
    np.testing.assert_array_equal(at(drive(*stamped, *stamped), 0.25), wanted)


@pytest.mark.parametrize("seconds", [-0.001, 0.401], ids=["before", "after"])
def test_no_guess_outside_the_transforms(seconds):
    motion = drive(*((0.1 * k, pose()) for k in range(5)))
    at(motion, 0)
    at(motion, 0.4)
    with pytest.raises(TransformError, match="'base' do not reach its time"):
        at(motion, seconds)


def test_no_guess_within_a_gap():
    motion = drive((0, pose()), (1.5, pose()))
    at(motion, 1.5)
    with pytest.raises(TransformError, match="'base' around its time are more than 1 s apart"):
        at(motion, 0.7)


def test_unknown_frames_are_named():
    with pytest.raises(
        TransformError,
        match=r"'base' to 'map'; there are only between base, camera, lidar, odom$",
    ):
        drive((0, pose()), fixed="map").matrix(
            "camera", "base", target_stamp=START, source_stamp=START
        )
    motion = drive((0, pose()))
    for k in range(30):
        motion.add(transform(0, pose(), child=f"person_{k:02}"), recorded=START)
    with pytest.raises(TransformError, match=r"person_15 and 14 others$"):
        at(motion, 0, frame="radar")


def test_what_may_come():
    motion = drive()
    assert motion.may_come("camera", START)
    motion = drive((0, pose()), (0.1, pose()))
    assert not motion.may_come("camera", START + SECOND // 10)
    assert motion.may_come("camera", START + SECOND // 10 + 1)
    # Nothing connects it, although transforms of its time have come.
    assert not motion.may_come("radar", START)
    assert not motion.may_come("odom", START + SECOND)


def test_stamps_that_start_again():
    motion = drive(*((100 + 0.1 * k, pose(offset=(k, 0, 0))) for k in range(5)))
    motion.add(transform(0, pose(offset=(50, 0, 0))), recorded=START)
    motion.add(transform(0.1, pose(offset=(60, 0, 0))), recorded=START)
    assert size(motion) == {"base": 2}
    assert at(motion, 0.05)[0, 3] == pytest.approx(55)


def test_one_stamp_of_nonsense_heals():
    motion = drive((0, pose()), (9e8, pose()), (0.1, pose()), (0.2, pose(yaw=10)))
    np.testing.assert_allclose(at(motion, 0.15), pose(yaw=5), atol=1e-9)


def test_transforms_without_a_stamp_count_from_their_recording():
    motion = Motion(tree(), fixed="odom", keep=SECOND)
    unstamped = transforms_message([("odom", "base", pose(yaw=20))], stamp=0)
    motion.add(unstamped, recorded=START)
    np.testing.assert_allclose(at(motion, 0), pose(yaw=20), atol=1e-12)


def test_another_parent_starts_again():
    motion = drive((0, pose()), (0.1, pose()))
    motion.add(transform(0.05, pose(), parent="map"), recorded=START)
    assert size(motion) == {"base": 1}


def test_static_transforms_come_before_others():
    motion = drive((0, pose()), (0.1, pose()))
    wanted = at(motion, 0, frame="lidar")
    motion.add(transform(0, pose(yaw=77), child="lidar", parent="odom"), recorded=START)
    np.testing.assert_array_equal(at(motion, 0, frame="lidar"), wanted)


def test_a_transform_that_makes_no_sense_is_left_out_on_its_own():
    motion = drive((0, pose()))
    message = transform(0.1, pose(yaw=10))
    message.transforms.insert(0, transform(0.1, pose(), child="odom").transforms[0])
    nowhere = transform(0.1, pose(), child="arm").transforms[0]
    nowhere.transform.translation.x = float("nan")
    message.transforms.append(nowhere)
    problems = motion.add(message, recorded=START)
    assert problems == [
        "frame 'odom' has a transform to itself",
        "transform of frame 'arm' has the translation [nan, 0.0, 0.0]",
    ]
    assert size(motion) == {"base": 2}
    np.testing.assert_allclose(at(motion, 0.05), pose(yaw=5), atol=1e-9)
    with pytest.raises(TransformError, match=r"'arm' to 'odom'.*left out: .*'arm' has the transl"):
        at(motion, 0.05, frame="arm")
    assert motion.add(transform(0.2, pose()), recorded=START) == []


@pytest.mark.slow
def test_memory_is_bounded():
    motion = Motion(tree(), fixed="odom", keep=2 * SECOND)
    for k in range(3000):
        motion.add(transform(0.01 * k, pose(offset=(k, 0, 0))), recorded=START)
        motion.add(transform(0.01 * k, pose(), child=f"object_{k}"), recorded=START)
    held = size(motion)
    assert len(held) == 500
    assert held["base"] == 201
    assert at(motion, 29.985)[0, 3] == pytest.approx(2998.5)
    for k in range(12_000):
        motion.add(transform(30 + k * 1e-4, pose()), recorded=START)
    assert size(motion)["base"] == 5000
