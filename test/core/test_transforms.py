"""Chains of static transforms, as robots record them."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from depthformer_core.bags import BagReader
from depthformer_core.bags.messages import transforms_message
from depthformer_core.data.kitti import CAMERA_FRAME, VELODYNE_FRAME
from depthformer_core.geometry.camera import Camera
from depthformer_core.geometry.transforms import FrameTree, TransformError
from depthformer_core.synthetic import Drive, write_bag
from depthformer_core.synthetic.rendering.lidar import VELO_TO_CAMERA


def pose(seed):
    """Any rotation and translation."""
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * np.sign(np.linalg.det(rotation))
    matrix[:3, 3] = rng.normal(size=3)
    return matrix


def tree(*transforms):
    frames = FrameTree()
    frames.add(transforms_message(transforms, stamp=0))
    return frames


def message(
    *, rotation=(0.0, 0.0, 0.0, 1.0), translation=(0.0, 0.0, 0.0), parent="base", child="lidar"
):
    """A message of a library that is not rosbags."""
    transform = SimpleNamespace(
        rotation=SimpleNamespace(**dict(zip("xyzw", rotation, strict=True))),
        translation=SimpleNamespace(**dict(zip("xyz", translation, strict=True))),
    )
    header = SimpleNamespace(frame_id=parent)
    stamped = SimpleNamespace(header=header, child_frame_id=child, transform=transform)
    return SimpleNamespace(transforms=[stamped])


def test_matrix_takes_points_of_the_child_to_the_parent():
    frames = tree(("base", "lidar", pose(1)))
    np.testing.assert_allclose(frames.matrix("base", "lidar"), pose(1), atol=1e-12)
    np.testing.assert_allclose(frames.matrix("lidar", "base"), np.linalg.inv(pose(1)), atol=1e-12)


def test_quarter_turn():
    """By hand: x of the child points along y of the parent."""
    half = np.sqrt(0.5)
    frames = FrameTree()
    frames.add(message(rotation=(0, 0, half, half), translation=(1, 2, 3)))
    np.testing.assert_allclose(frames.matrix("base", "lidar") @ (1, 0, 0, 1), (1, 3, 3, 1))


@pytest.mark.parametrize(
    ("target", "source", "wanted"),
    [
        pytest.param("base", "optical", pose(2) @ pose(3), id="up"),
        pytest.param("optical", "base", np.linalg.inv(pose(2) @ pose(3)), id="down"),
        pytest.param(
            "optical", "lidar", np.linalg.inv(pose(2) @ pose(3)) @ pose(1), id="up and down"
        ),
        pytest.param("/optical", "/base", np.linalg.inv(pose(2) @ pose(3)), id="slashes"),
        pytest.param("lidar", "lidar", np.eye(4), id="same"),
        pytest.param("unheard_of", "/unheard_of", np.eye(4), id="same, unknown"),
    ],
)
def test_chains(target, source, wanted):
    frames = tree(("/base", "lidar", pose(1)), ("base", "camera", pose(2)))
    frames.add(transforms_message([("camera", "optical", pose(3))], stamp=0))
    np.testing.assert_allclose(frames.matrix(target, source), wanted, atol=1e-12)


def test_later_messages_replace_a_child():
    frames = tree(("base", "lidar", pose(1)), ("map", "base", pose(4)))
    frames.add(transforms_message([("map", "/lidar", pose(2))], stamp=0))
    np.testing.assert_allclose(frames.matrix("map", "lidar"), pose(2), atol=1e-12)
    wanted = np.linalg.inv(pose(4)) @ pose(2)
    np.testing.assert_allclose(frames.matrix("base", "lidar"), wanted, atol=1e-12)


def test_frames_that_are_not_connected_are_named():
    frames = tree(("base", "lidar", pose(1)), ("world", "camera", pose(2)))
    wanted = (
        "no transforms connect frame 'lidar' to 'camera'; "
        "there are only between base, camera, lidar, world"
    )
    with pytest.raises(TransformError, match=wanted):
        frames.matrix("camera", "lidar")
    with pytest.raises(TransformError, match="frame 'lidar' to 'camera'; there are none at all"):
        FrameTree().matrix("camera", "lidar")


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        pytest.param(message(rotation=(0, 0, 0, 0)), "'lidar'.* quaternion", id="zero"),
        pytest.param(message(rotation=(0, 0, np.nan, 1)), "'lidar'.* quaternion", id="NaN"),
        pytest.param(message(rotation=(np.inf, 0, 0, 1)), "'lidar'.* quaternion", id="infinite"),
        pytest.param(message(translation=(0, np.nan, 0)), "'lidar'.* translation", id="nowhere"),
        pytest.param(message(translation=(0, 0, -np.inf)), "'lidar'.* translation", id="far"),
        pytest.param(message(parent="/lidar"), "'lidar' .*to itself", id="itself"),
        pytest.param(message(parent=""), "'lidar' names no parent", id="no parent"),
        pytest.param(message(parent="/"), "'lidar' names no parent", id="a slash for a parent"),
        pytest.param(message(child=""), "from frame 'base' names no child", id="no child"),
        pytest.param(message(parent="", child=""), "names no child", id="no names"),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_transform_that_makes_no_sense_is_left_out_on_its_own(broken, reason, place):
    """Drivers put transforms of sensors that are off on /tf_static, all NaN, beside sound ones."""
    frames = tree(("base", "lidar", pose(1)))
    sound = transforms_message([("base", "camera", pose(2)), ("map", "base", pose(3))], stamp=0)
    together = SimpleNamespace(transforms=list(sound.transforms))
    together.transforms.insert(place, broken.transforms[0])
    (problem,) = frames.add(together)
    assert re.search(reason, problem)
    assert list(frames.problems.values()) == [problem]
    np.testing.assert_allclose(frames.matrix("base", "lidar"), pose(1), atol=1e-12)
    np.testing.assert_allclose(frames.matrix("base", "camera"), pose(2), atol=1e-12)
    np.testing.assert_allclose(frames.matrix("map", "base"), pose(3), atol=1e-12)


def test_what_was_left_out_is_named_where_it_is_missed():
    frames = tree(("base", "camera", pose(2)))
    assert frames.add(message(rotation=(np.nan,) * 4)) == [
        "transform of frame 'lidar' has the quaternion [nan, nan, nan, nan], no rotation"
    ]
    with pytest.raises(
        TransformError, match=r"only between base, camera; left out: .*'lidar'.*nan"
    ):
        frames.matrix("camera", "lidar")
    for number in range(100):
        frames.add(message(rotation=(np.nan,) * 4, child=f"imu_{number}"))
    assert len(frames.problems) == 20
    assert frames.add(message()) == []
    np.testing.assert_array_equal(frames.matrix("base", "lidar"), np.eye(4))


@pytest.mark.parametrize("scale", [1e-200, 0.999, 1e200])
def test_quaternions_need_no_unit_length(scale):
    frames, scaled = FrameTree(), FrameTree()
    rotation = np.array([0.1, -0.2, 0.3, 0.9])
    frames.add(message(rotation=rotation))
    scaled.add(message(rotation=rotation * scale))
    matrix = scaled.matrix("base", "lidar")
    np.testing.assert_allclose(matrix, frames.matrix("base", "lidar"), atol=1e-12)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(4), atol=1e-12)


def test_a_generated_bag_has_the_pose_of_its_scanner(tmp_path):
    write_bag(Drive(1, frames=1, camera=Camera(62, 19, 36, 36, 30, 9)), tmp_path / "bag")
    frames = FrameTree()
    with BagReader(tmp_path / "bag") as reader:
        for item in reader.messages():
            if item.topic == "/tf_static":
                frames.add(item.message())
    matrix = frames.matrix(CAMERA_FRAME, VELODYNE_FRAME)
    np.testing.assert_allclose(matrix, VELO_TO_CAMERA, atol=1e-9)
