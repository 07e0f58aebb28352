"""Generated drives on disk, read by our own readers."""

import numpy as np
import pytest

from depthformer_core.bags import BagError, BagReader
from depthformer_core.bags.depth_messages import image_to_depth
from depthformer_core.bags.image_messages import image_to_rgb
from depthformer_core.bags.messages import cloud_points, header_stamp
from depthformer_core.data.kitti import (
    CAMERA_INFO_TOPIC,
    CLOUD_TOPIC,
    IMAGE_TOPIC,
    KittiDrive,
    drive_to_bag,
)
from depthformer_core.data.open import open_dataset
from depthformer_core.geometry.camera import Camera
from depthformer_core.geometry.transforms import read_link
from depthformer_core.synthetic import DEPTH_TRUTH_TOPIC, Drive, write_bag, write_kitti
from depthformer_core.synthetic.rendering.lidar import VELO_TO_CAMERA

SMALL = Camera(310, 94, 180.4, 180.4, 152.4, 43.2)


@pytest.fixture(scope="module")
def drive():
    return Drive(12, frames=2, camera=SMALL, rate=4.0)


@pytest.fixture(scope="module")
def tree(drive, tmp_path_factory):
    root = tmp_path_factory.mktemp("kitti") / "tree"
    write_kitti(drive, root)
    return root


@pytest.mark.slow
def test_bag(drive, tmp_path):
    write_bag(drive, tmp_path / "bag")
    with BagReader(tmp_path / "bag") as reader:
        assert {topic.name: topic.count for topic in reader.topics.values()} == {
            IMAGE_TOPIC: 2,
            CAMERA_INFO_TOPIC: 2,
            DEPTH_TRUTH_TOPIC: 2,
            CLOUD_TOPIC: 2,
            "/tf": 2,
            "/tf_static": 1,
        }
        assert reader.duration == pytest.approx(0.25)
        found = {
            topic: [item.message() for item in reader.messages([topic])] for topic in reader.topics
        }
    rgb, depth = drive.picture(1)
    np.testing.assert_array_equal(image_to_rgb(found[IMAGE_TOPIC][1]), rgb)
    np.testing.assert_array_equal(image_to_depth(found[DEPTH_TRUTH_TOPIC][1]), depth)
    np.testing.assert_array_equal(cloud_points(found[CLOUD_TOPIC][1])[0], drive.scan(1)[:, :3])
    stamps = [
        [header_stamp(message) for message in found[topic]] for topic in (IMAGE_TOPIC, CLOUD_TOPIC)
    ]
    assert stamps[0] == stamps[1]
    (transform,) = found["/tf_static"][0].transforms
    assert (transform.header.frame_id, transform.child_frame_id) == (
        "velo_link",
        "camera_color_left",
    )
    # The camera is ahead of the scanner and below it.
    assert transform.transform.translation.x == pytest.approx(0.27)
    assert transform.transform.translation.z == pytest.approx(-0.08)
    start, moved = (message.transforms[0] for message in found["/tf"])
    assert (moved.header.frame_id, moved.child_frame_id) == ("odom", "velo_link")
    assert [header_stamp(start), header_stamp(moved)] == stamps[0]
    np.testing.assert_allclose(read_link(start).matrix, np.eye(4), atol=1e-9)
    motion = VELO_TO_CAMERA @ read_link(moved).matrix @ np.linalg.inv(VELO_TO_CAMERA)
    wanted = np.linalg.inv(drive.pose(0)) @ drive.pose(1)
    np.testing.assert_allclose(motion, wanted, atol=1e-9)
    assert 1 < moved.transform.translation.x < 8  # forward


def test_bag_is_not_overwritten(drive, tmp_path):
    (tmp_path / "bag").mkdir()
    with pytest.raises(BagError, match="exists"):
        write_bag(drive, tmp_path / "bag")


def test_annotated_depth(drive, tree):
    for part in ("train", "val", "test"):
        dataset = open_dataset("kitti_eigen", tree, part=part)
        dataset.check()
        assert len(dataset) == 2
    frame = dataset[1]
    rgb, depth = drive.picture(1)
    np.testing.assert_array_equal(frame.rgb, rgb)
    stored = depth < 255
    np.testing.assert_allclose(frame.depth[stored], depth[stored], atol=0.5 / 256 + 1e-5)
    assert (frame.depth[np.isinf(depth)] == 0).all()
    assert (frame.camera.width, frame.camera.height) == (310, 94)
    assert frame.camera.fx == pytest.approx(180.4)
    assert frame.camera.cy == pytest.approx(43.2)


def test_raw_drive(drive, tree, tmp_path):
    dataset = open_dataset("kitti_raw", tree, part="train")
    dataset.check()
    assert dataset.files[1] == "2000_01_01/2000_01_01_drive_0012_sync/image_02/data/0000000001.png"
    (root,) = tree.glob("2000_01_01/*_sync")
    raw = KittiDrive(root)
    np.testing.assert_array_equal(raw.scan(1), drive.scan(1))
    assert raw.image_stamp(1) - raw.image_stamp(0) == 250_000_000
    sparse, depth = dataset[0].depth, drive.picture(0)[1]
    both = (sparse > 0) & np.isfinite(depth)
    assert both.sum() > 1_000
    assert np.median(abs(sparse - depth)[both]) < 0.1
    drive_to_bag(root, tmp_path / "bag")


def test_tree_is_not_overwritten(drive, tree):
    with pytest.raises(ValueError, match="exists already"):
        write_kitti(drive, tree)
    assert [path.name for path in tree.parent.iterdir()] == [tree.name]


def test_kitti_numbers_have_four_digits(tmp_path):
    with pytest.raises(ValueError, match="got seed 10000"):
        write_kitti(Drive(10_000, frames=1, camera=SMALL), tmp_path / "tree")
    assert list(tmp_path.iterdir()) == []
