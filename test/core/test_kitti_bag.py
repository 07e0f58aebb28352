"""Drives of KITTI's raw data as bags."""

import numpy as np
import pytest
from kitti_drives import (
    MIDNIGHT,
    make_drive,
    write_timestamps,
)

from depthformer_core.bags import BagError, BagReader
from depthformer_core.bags.image_messages import image_to_rgb
from depthformer_core.bags.messages import cloud_points, header_stamp
from depthformer_core.data.kitti import (
    CAMERA_INFO_TOPIC,
    CLOUD_TOPIC,
    IMAGE_TOPIC,
    KittiDrive,
    drive_to_bag,
)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_drive_becomes_a_bag(tmp_path, storage):
    drive = make_drive(tmp_path)
    write_timestamps(drive, "velodyne_points", [f"2011-09-26 00:00:00.{i}5" for i in range(4)])
    drive_to_bag(drive, tmp_path / "bag", storage=storage)
    source = KittiDrive(drive)
    with BagReader(tmp_path / "bag") as reader:
        counts = {topic.name: topic.count for topic in reader.topics.values()}
        items = list(reader.messages())
    assert counts == {IMAGE_TOPIC: 3, CAMERA_INFO_TOPIC: 3, CLOUD_TOPIC: 3, "/tf_static": 1}
    assert items[0].topic == "/tf_static"
    assert [item.stamp for item in items] == sorted(item.stamp for item in items)
    assert items[-1].stamp == MIDNIGHT + 350_000_000
    by_topic = {name: [item.message() for item in items if item.topic == name] for name in counts}
    for frame, image in enumerate(by_topic[IMAGE_TOPIC]):
        np.testing.assert_array_equal(image_to_rgb(image), source.image(frame))
        assert header_stamp(image) == source.image_stamp(frame)
        assert header_stamp(by_topic[CAMERA_INFO_TOPIC][frame]) == source.image_stamp(frame)
        assert image.header.frame_id == "camera_color_left"
    for frame, cloud in zip(source.scans, by_topic[CLOUD_TOPIC], strict=True):
        np.testing.assert_array_equal(cloud_points(cloud)[0], source.scan(frame)[:, :3])
        assert header_stamp(cloud) == source.scan_stamp(frame)
        assert cloud.header.frame_id == "velo_link"
    info = by_topic[CAMERA_INFO_TOPIC][0]
    assert (info.width, info.height) == (64, 24)
    np.testing.assert_array_equal(info.p, [40, 0, 32, 0, 0, 40, 12, 0, 0, 0, 1, 0])
    transform = by_topic["/tf_static"][0].transforms[0]
    assert (transform.header.frame_id, transform.child_frame_id) == (
        "velo_link",
        "camera_color_left",
    )
    # The camera's place as the Velodyne sees it: 0.3 m ahead, 0.1 m to the left, 0.1 m below.
    place = transform.transform.translation
    np.testing.assert_allclose((place.x, place.y, place.z), (0.3, 0.1, -0.1), atol=1e-12)


def test_first_frames_only(tmp_path):
    drive_to_bag(make_drive(tmp_path), tmp_path / "bag", frames=2)
    with BagReader(tmp_path / "bag") as reader:
        counts = {topic.name: topic.count for topic in reader.topics.values()}
    assert (counts[IMAGE_TOPIC], counts[CLOUD_TOPIC]) == (2, 1)


def test_bag_is_not_overwritten(tmp_path):
    (tmp_path / "bag").mkdir()
    with pytest.raises(BagError, match="exists"):
        drive_to_bag(make_drive(tmp_path), tmp_path / "bag")
    with pytest.raises(ValueError, match="got 0"):
        drive_to_bag(tmp_path / "2011_09_26" / "2011_09_26_drive_0099_sync", tmp_path, frames=0)
