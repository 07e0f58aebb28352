"""Scans of a moving robot that are added up."""

import numpy as np
import pytest
from bag_recordings import (
    LASER_TO_EYE,
    MS,
    START,
    bag_of,
    depth,
    image,
    info,
    transforms,
)
from rosbags.rosbag1 import Writer as Writer1
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from depthformer_core.bags import BagWriter
from depthformer_core.bags.errors import ReplayError
from depthformer_core.bags.messages import scan_message, transforms_message
from depthformer_core.geometry.camera import Camera
from depthformer_core.geometry.transforms import read_link
from depthformer_core.replay.bag_frames import BagFrames
from depthformer_core.replay.frame_plan import FrameOptions
from depthformer_core.replay.scan_truth import scan_truth
from depthformer_core.synthetic.drive import Drive
from depthformer_core.synthetic.export import write_bag


def moved(ms, *, parent="odom", child="laser"):
    """Poses of the laser that drives 10 m/s forwards, as it turns a little."""
    turn = np.deg2rad(0.01 * ms)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    matrix[:2, 3] = 0.01 * ms, 0.3
    return transforms_message([(parent, child, matrix)], stamp=START + ms * MS)


def wall(ms, *, frame_id="laser"):
    """Scan of a wall across the road, 30 m from where the laser starts."""
    across, up = np.meshgrid(np.linspace(-25, 25, 60), np.linspace(-8, 8, 30))
    points = np.stack((np.full_like(up, 30), across, up, np.ones_like(up)), -1).reshape(-1, 4)
    matrix = read_link(moved(ms).transforms[0]).matrix
    scan = points @ np.linalg.inv(matrix).T
    return scan_message(scan.astype(np.float32), stamp=START + ms * MS, frame_id=frame_id)


def moving_events(*, delay=0, topic="/tf", scans=range(0, 1000, 100), known=range(0, 1000, 20)):
    """Images and scans of a laser that drives towards a wall; transforms recorded later."""
    events = [("/tf_static", transforms(), -1), ("/camera_info", info(0), -1)]
    for ms in range(0, 1000, 20):
        if ms in known:
            events.append((topic, moved(ms), ms + delay))
        if ms in scans:
            events.append(("/velo", wall(ms), ms))
        if not (ms - 40) % 100:
            events.append(("/image", image(ms), ms))
    return sorted(events, key=lambda event: event[2])


def wall_of(item):
    """Depth of the wall in the picture of a camera that turned with the laser."""
    ms = (item.stamp - START) // MS
    pose = read_link(moved(ms).transforms[0]).matrix @ np.linalg.inv(LASER_TO_EYE)
    row, column = np.mgrid[:8, :16]
    rays = np.stack(((column - 7.5) / 20, (row - 3.5) / 20, np.ones((8, 16))), -1)
    return (30 - pose[0, 3]) / (rays @ pose[0, :3])


def counted(monkeypatch):
    """Number of scans each truth is made of."""
    counts = []

    def count(scans, *args, **options):
        counts.append(len(scans))
        return scan_truth(scans, *args, **options)

    monkeypatch.setattr("depthformer_core.replay.bag_pass.scan_truth", count)
    return counts


@pytest.mark.parametrize("options", [{}, {"delay": 300}, {"topic": "/robot/tf"}], ids=str)
def test_scans_are_added_up_where_the_robot_was(tmp_path, monkeypatch, options):
    counts = counted(monkeypatch)
    frames = BagFrames(
        bag_of(tmp_path / "bag", moving_events(**options)), FrameOptions(accumulate=2)
    )
    for _ in range(2):
        counts.clear()
        read = list(frames)
        assert len(read) == 10
        for item in read:
            known = item.frame.depth > 0
            assert known.mean() > 0.9
            # A point may lie half a pixel from its middle.
            np.testing.assert_allclose(
                item.frame.depth[known], wall_of(item)[known], rtol=0, atol=0.15
            )
        # 40 ms after the scan that matches; at the ends there are fewer.
        assert counts == [3, 4, 5, 5, 5, 5, 5, 5, 4, 3]
        assert frames.notes == []


def test_without_accumulation_transforms_are_not_read(tmp_path):
    events = moving_events()
    bag = bag_of(tmp_path / "bag", events)
    bare = bag_of(tmp_path / "bare", [event for event in events if event[0] != "/tf"])
    frames = BagFrames(bag)
    for item, other in zip(frames, BagFrames(bare), strict=True):
        np.testing.assert_array_equal(item.frame.depth, other.frame.depth)
    with BagWriter(tmp_path / "odd") as writer:
        for topic, message, ms in events:
            writer.write(topic, message, stamp=START + ms * MS)
            if topic == "/tf":
                writer.write_cdr(topic, message.__msgtype__, b"\0\1", stamp=START + ms * MS)
    assert BagFrames(tmp_path / "odd").notes == frames.notes == []
    odd = BagFrames(tmp_path / "odd", FrameOptions(accumulate=1))
    assert all(item.frame.depth is not None for item in odd)
    assert odd.notes == ["50 transforms on /tf were skipped: the message is damaged."]


def test_scans_that_transforms_do_not_reach_are_left_out(tmp_path, monkeypatch):
    counts = counted(monkeypatch)
    bag = bag_of(tmp_path / "bag", moving_events(known=range(320, 1000, 20)))
    frames = BagFrames(bag, FrameOptions(accumulate=1))
    assert [item.frame.depth is not None for item in frames] == [*[False] * 3, *[True] * 7]
    # The image at 340 ms matches the scan at 300 ms, which is too early, like that before.
    assert counts == [1, 2, 3, 3, 3, 3, 2]
    reason = "the transforms of frame 'laser' do not reach its time."
    assert frames.notes == [
        f"3 of 10 images have no truth: {reason}",
        f"3 times a scan was not added to the others of an image: {reason}",
    ]


def test_a_scan_that_is_unusable_leaves_the_others(tmp_path, monkeypatch):
    counts = counted(monkeypatch)
    events = moving_events()
    scans = [message for topic, message, _ in events if topic == "/velo"]
    scans[5].fields = scans[5].fields[:2]
    frames = BagFrames(bag_of(tmp_path / "bag", events), FrameOptions(accumulate=1))
    assert all(item.frame.depth is not None for item in frames)
    assert counts == [2, 3, 3, 3, 2, 2, 2, 3, 3, 2]
    assert [note.partition(":")[0] for note in frames.notes] == [
        "3 times a scan was not added to the others of an image"
    ]


def test_a_fixed_frame_that_is_unknown(tmp_path):
    frames = BagFrames(
        bag_of(tmp_path / "bag", moving_events()), FrameOptions(accumulate=1, fixed_frame="map")
    )
    assert all(item.frame.depth is None for item in frames)
    assert frames.notes == [
        "10 of 10 images have no truth: no transforms connect frame 'laser' to 'map'; "
        "there are only between eye, laser, odom."
    ]


def test_scans_are_added_up_in_a_ros1_bag(tmp_path):
    """With the message of ROS 1's first transforms, which hold the static ones too."""
    store = get_typestore(Stores.ROS1_NOETIC)
    definition = "geometry_msgs/TransformStamped[] transforms"
    store.register(get_types_from_msg(definition, "tf/msg/tfMessage"))

    def converted(message, name=None):
        """The same message of ROS 1's types."""
        if isinstance(message, list):
            return [converted(item) for item in message]
        name = name or getattr(message, "__msgtype__", None)
        if name is None:
            return message
        cls = store.types[name]
        values = vars(message) | ({"seq": 0} if name == "std_msgs/msg/Header" else {})
        names = {"d": "D", "k": "K", "r": "R", "p": "P"} if name.endswith("CameraInfo") else {}
        return cls(**{names.get(key, key): converted(value) for key, value in values.items()
                      if key != "__msgtype__"})  # fmt: skip

    with Writer1(tmp_path / "drive.bag") as writer:
        connections = {}
        for topic, message, ms in moving_events():
            if topic == "/tf_static":
                continue
            kind = "tf/msg/tfMessage" if topic == "/tf" else message.__msgtype__
            if topic == "/tf":
                fixed = transforms().transforms[0]
                fixed.header.stamp = message.transforms[0].header.stamp
                message.transforms.append(fixed)
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=store)
            data = store.serialize_ros1(converted(message, kind), kind)
            writer.write(connections[topic], START + (ms + 1) * MS, data)
    frames = BagFrames(tmp_path / "drive.bag", FrameOptions(accumulate=2))
    read = list(frames)
    assert frames.notes == []
    for item in read:
        known = item.frame.depth > 0
        np.testing.assert_allclose(item.frame.depth[known], wall_of(item)[known], rtol=0, atol=0.15)


@pytest.mark.parametrize(
    ("events", "options", "text"),
    [
        pytest.param(
            [event for event in moving_events() if event[0] != "/tf"],
            {"accumulate": 1},
            "accumulate needs the motion of the robot in 'odom': the bag has no /tf; "
            "frames of its /tf_static: eye, laser",
            id="no tf",
        ),
        pytest.param(
            [*moving_events(), ("/depth", depth(0, np.ones((8, 16))))],
            {"accumulate": 1},
            "accumulate adds up scans of a LiDAR: truth is the depth images on /depth",
            id="depth images",
        ),
        pytest.param(
            [event for event in moving_events() if event[0] != "/velo"],
            {"accumulate": 1},
            "accumulate adds up scans of a LiDAR: the bag has no depth images or clouds",
            id="no clouds",
        ),
        pytest.param(
            [event for event in moving_events() if event[0] != "/camera_info"],
            {"accumulate": 1},
            "/velo is no truth: the bag has no camera_info",
            id="no camera_info",
        ),
        pytest.param(
            moving_events(), {"accumulate": 21}, "accumulate must be 0 to 20 .*got 21", id="many"
        ),
        pytest.param(moving_events(), {"accumulate": -1}, "got -1", id="negative"),
    ],
)
def test_what_cannot_be_added_up_is_refused_at_once(tmp_path, events, options, text):
    with pytest.raises(ReplayError, match=text) as caught:
        BagFrames(bag_of(tmp_path / "bag", events), FrameOptions(**options))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_added_up_scans_are_right(tmp_path):
    """The exact depth of a generated drive; the ends have fewer scans around them."""
    camera = Camera(621, 188, 360.8, 360.8, 304.8, 86.4)
    write_bag(Drive(12, frames=5, camera=camera, traffic=False), tmp_path / "bag")
    exact = [item.frame.depth for item in BagFrames(tmp_path / "bag")]
    pixels = {}
    for count in (0, 2):
        measured = BagFrames(tmp_path / "bag", FrameOptions(truth="lidar", accumulate=count))
        pixels[count] = right = 0
        for item, truth in zip(measured, exact, strict=True):
            known = item.frame.depth > 0
            pixels[count] += known.sum()
            right += (abs(item.frame.depth[known] / truth[known] - 1) <= 0.02).sum()
        assert right > 0.99 * pixels[count]
        assert measured.notes == []
    assert pixels[2] > 1.8 * pixels[0]
