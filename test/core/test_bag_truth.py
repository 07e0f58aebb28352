"""Ground truth of the frames of bags."""

import math

import cv2
import numpy as np
import pytest
from bag_recordings import (
    CAMERA,
    LASER_TO_EYE,
    MS,
    START,
    bag_of,
    cloud,
    compressed,
    depth,
    image,
    info,
    transforms,
)

from depthformer_core.bags.errors import ReplayError
from depthformer_core.bags.messages import (
    scan_message,
    transforms_message,
)
from depthformer_core.data.kitti import KittiDrive, drive_to_bag
from depthformer_core.geometry.camera import Camera
from depthformer_core.geometry.transforms import TransformError
from depthformer_core.replay.bag_frames import BagFrames
from depthformer_core.replay.frame_plan import FrameOptions
from depthformer_core.synthetic.drive import Drive
from depthformer_core.synthetic.export import DEPTH_TRUTH_TOPIC, write_bag


def test_depth_in_metres(tmp_path):
    values = np.full((8, 16), 7.25)
    values[0, :5] = np.nan, np.inf, -np.inf, 0, -1
    bag = bag_of(tmp_path / "bag", [("/image", image(0)), ("/depth", depth(20, values))])
    frames = BagFrames(bag)
    (item,) = frames
    np.testing.assert_array_equal(item.frame.depth[0, :6], [0, np.inf, 0, 0, 0, 7.25])
    assert item.frame.depth.dtype == np.float32
    assert frames.notes == ["1 of 1 images have no camera: the bag has no camera_info."]


def test_depth_in_millimetres(tmp_path):
    values = np.full((8, 16), 7250)
    values[0, :2] = 0, 65535
    message = depth(0, values, encoding="16UC1")
    (item,) = BagFrames(bag_of(tmp_path / "bag", [("/image", image(0)), ("/depth", message)]))
    np.testing.assert_allclose(item.frame.depth[0, :3], [0, 65.535, 7.25])
    assert item.frame.depth.dtype == np.float32


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (depth(100, np.ones((4, 8))), "the depth image is 8x4, the image 16x8"),
        (image(100), "encoding of a depth image must be 32FC1 or 16UC1, got 'rgb8'"),
    ],
    ids=["size", "encoding"],
)
def test_unusable_depth_is_counted(tmp_path, message, text):
    events = [
        *(("/image", image(ms)) for ms in (0, 100)),
        ("/depth", depth(0, np.ones((8, 16)))),
        ("/depth", message),
    ]
    frames = BagFrames(bag_of(tmp_path / "bag", events))
    first, second = frames
    assert first.frame.depth is not None
    assert second.frame.depth is None
    assert f"1 of 2 images have no truth: {text}." in frames.notes


def test_unusable_clouds_are_counted(tmp_path):
    events = [("/tf_static", transforms()), ("/camera_info", info(0))]
    doubles = cloud(100)
    for field in doubles.fields:
        field.datatype = 8
        field.offset *= 2
    doubles.data = doubles.data.view("<f4").astype("<f8").view(np.uint8)
    doubles.point_step, doubles.row_step = 32, 2 * doubles.row_step
    flat = cloud(200)
    flat.fields = flat.fields[:2]
    short = cloud(300)
    short.data = short.data[:50]
    lost = cloud(400, frame_id="elsewhere")
    for ms, scan in zip(range(0, 500, 100), (cloud(0), doubles, flat, short, lost), strict=True):
        events += [("/image", image(ms)), ("/velo", scan)]
    frames = BagFrames(bag_of(tmp_path / "bag", events))
    assert [item.frame.depth is not None for item in frames] == [True, True, *[False] * 3]
    notes = " ".join(frames.notes)
    assert "1 of 5 images have no truth: cloud has no field z" in notes
    assert "short data: 50 bytes" in notes
    assert "elsewhere" in notes


@pytest.mark.parametrize(("tolerance", "matched"), [(0.05, 0), (0.08, 3), (0.0, 0)])
def test_scans_that_do_not_match(tmp_path, tolerance, matched):
    events = [("/tf_static", transforms()), ("/camera_info", info(0))]
    for index in range(3):
        events += [("/image", image(1000 * index)), ("/velo", cloud(1000 * index + 70))]
    frames = BagFrames(bag_of(tmp_path / "bag", events), FrameOptions(tolerance=tolerance))
    assert sum(item.frame.depth is not None for item in frames) == matched
    if not matched:
        assert frames.notes == [
            f"3 of 3 images have no truth: nothing on /velo within {tolerance} s.",
            "The nearest miss was 0.070 s between an image and a message on /velo.",
        ]


def test_scans_recorded_late_still_match(tmp_path):
    events = [("/tf_static", transforms()), ("/camera_info", info(0))]
    for index in range(10):
        events.append(("/image", image(100 * index), 100 * index + 5))
        events.append(("/velo", cloud(100 * index, distance=5.0 + index), 100 * index + 700))
    events[2:] = sorted(events[2:], key=lambda event: event[2])
    frames = BagFrames(bag_of(tmp_path / "bag", events))
    for index, item in enumerate(frames):
        np.testing.assert_allclose(item.frame.depth[item.frame.depth > 0], 5 + index, rtol=1e-6)
    assert frames.notes == []


@pytest.mark.parametrize(
    ("events", "options", "text"),
    [
        pytest.param(
            [], {}, "There is no truth: the bag has no depth images or clouds.", id="none"
        ),
        pytest.param(
            [("/depth", depth(0, np.ones((8, 16))))],
            {"truth": "none"},
            "There is no truth: none is requested.",
            id="not requested",
        ),
        pytest.param(
            [("/velo", cloud(0)), ("/camera_info", info(0))],
            {},
            "There is no truth: the bag has no /tf_static, which would place /velo",
            id="no transforms",
        ),
        pytest.param(
            [("/velo", cloud(0)), ("/tf_static", transforms())],
            {},
            "There is no truth: the bag has no camera_info to project /velo with.",
            id="no camera_info",
        ),
    ],
)
def test_missing_truth_is_noted(tmp_path, events, options, text):
    frames = BagFrames(
        bag_of(tmp_path / "bag", [*events, ("/image", image(0))]), FrameOptions(**options)
    )
    (item,) = frames
    assert item.frame.depth is None
    assert frames.notes[0].startswith(text)
    assert (frames.topics.depth, frames.topics.cloud) == (None, None)


@pytest.mark.parametrize(
    ("events", "options", "error", "text"),
    [
        pytest.param(
            [("/velo", cloud(0)), ("/camera_info", info(0))],
            {"truth": "lidar"},
            ReplayError,
            "/velo is no truth: the bag has no /tf_static",
            id="no transforms",
        ),
        pytest.param(
            [("/velo", cloud(0)), ("/tf_static", transforms())],
            {"cloud": "/velo"},
            ReplayError,
            "/velo is no truth: the bag has no camera_info",
            id="no camera_info",
        ),
        pytest.param(
            [
                ("/velo", cloud(0, frame_id="roof")),
                ("/camera_info", info(0)),
                ("/tf_static", transforms()),
            ],
            {},
            TransformError,
            "roof",
            id="not connected",
        ),
        pytest.param([], {"tolerance": -0.1}, ReplayError, "-0.1", id="tolerance"),
        pytest.param([], {"tolerance": math.nan}, ReplayError, "nan", id="tolerance nan"),
        pytest.param([], {"rectify": "sometimes"}, ReplayError, "'sometimes'", id="rectify"),
        pytest.param([], {"image": "/eye"}, ReplayError, "/eye is not in bag ", id="topic"),
    ],
)
def test_what_cannot_be_is_refused_at_once(tmp_path, events, options, error, text):
    bag = bag_of(tmp_path / "bag", [*events, ("/image", image(0))])
    with pytest.raises(error, match=text) as caught:
        BagFrames(bag, FrameOptions(**options))
    assert "\n" not in str(caught.value)


def test_a_cloud_of_the_camera_needs_no_transform(tmp_path):
    events = [("/camera_info", info(0)), ("/image", image(0))]
    points = np.array([[0, 0, 4, 0], [0.2, 0.2, 3, 0]], np.float32)
    events.append(("/points", scan_message(points, stamp=START, frame_id="eye")))
    (item,) = BagFrames(bag_of(tmp_path / "bag", events), FrameOptions(keep_hidden=True))
    assert sorted(item.frame.depth[item.frame.depth > 0]) == [3, 4]


def test_generated_drive(tmp_path):
    drive = Drive(3, frames=2, camera=Camera(156, 48, 90.0, 90.0, 77.5, 20.0))
    write_bag(drive, tmp_path / "bag")
    exact = list(BagFrames(tmp_path / "bag"))
    measured = list(BagFrames(tmp_path / "bag", FrameOptions(truth="lidar")))
    assert [item.stamp for item in exact] == [item.stamp for item in measured]
    assert BagFrames(tmp_path / "bag").topics.depth == DEPTH_TRUTH_TOPIC
    for index, (whole, sparse) in enumerate(zip(exact, measured, strict=True)):
        rgb, truth = drive.picture(index)
        np.testing.assert_array_equal(whole.frame.rgb, rgb)
        np.testing.assert_array_equal(whole.frame.depth, truth)
        hit = (sparse.frame.depth > 0) & np.isfinite(truth)
        assert hit.sum() > 200
        error = np.abs(sparse.frame.depth[hit] - truth[hit]) / truth[hit]
        assert np.median(error) < 0.02


def test_clouds_that_are_too_large_are_counted(tmp_path):
    """Their points would take many times the memory of their message."""
    large = cloud(0)
    large.width, large.point_step, large.row_step = 2**23 + 1, 0, 0
    events = [("/tf_static", transforms()), ("/camera_info", info(0)), ("/image", image(0))]
    frames = BagFrames(bag_of(tmp_path / "bag", [*events, ("/velo", large)]))
    (item,) = frames
    assert item.frame.depth is None
    assert "no truth: a cloud of 8388609 points is more than 8388608." in frames.notes[0]


def test_real_drive_is_projected_as_with_its_calibration(samples, tmp_path):
    root = samples / "kitti_raw" / "2011_09_26" / "2011_09_26_drive_0052_sync"
    drive_to_bag(root, tmp_path / "bag", frames=3)
    drive = KittiDrive(root)
    bare = BagFrames(tmp_path / "bag", FrameOptions(keep_hidden=True))
    for index, item in enumerate(bare):
        frame, wanted = item.frame, drive.scan_depth(index)
        np.testing.assert_array_equal(frame.rgb, drive.image(index))
        assert frame.camera == drive.camera
        both = (frame.depth > 0) & (wanted > 0)
        # The transform's quaternion moves a point of 20,000 across the border of its pixel.
        assert ((frame.depth > 0) != (wanted > 0)).sum() <= 2
        np.testing.assert_allclose(frame.depth[both], wanted[both], rtol=0, atol=0.01)
    assert bare.notes == []
    for seen, item in zip(BagFrames(tmp_path / "bag"), bare, strict=True):
        kept = seen.frame.depth > 0
        assert 0.7 < kept.sum() / (item.frame.depth > 0).sum() < 1
        np.testing.assert_array_equal(seen.frame.depth[kept], item.frame.depth[kept])


def packed_depth(ms, values):
    """As compressed_depth_image_transport sends millimetres."""
    png = cv2.imencode(".png", np.asarray(values, np.uint16))[1].tobytes()
    message = compressed(ms, bytes(12) + png)
    message.format = "16UC1; compressedDepth png"
    return message


@pytest.mark.parametrize("truth", ["auto", "depth"])
def test_compressed_depth_is_truth(tmp_path, truth):
    values = np.full((8, 16), 3000)
    values[2, 3] = 0
    events = [("/image", image(0)), ("/depth/image/compressedDepth", packed_depth(0, values))]
    frames = BagFrames(bag_of(tmp_path / "bag", events), FrameOptions(truth=truth))
    (item,) = frames
    np.testing.assert_array_equal(item.frame.depth, values.astype(np.float32) / 1000)
    assert not any("truth" in note for note in frames.notes)


def test_damaged_compressed_depth_is_counted(tmp_path):
    damaged = packed_depth(100, np.full((8, 16), 3000))
    damaged.data = damaged.data[:-20]
    events = [("/image", image(0)), ("/depth", packed_depth(0, np.full((8, 16), 3000)))]
    events += [("/image", image(100)), ("/depth", damaged)]
    frames = BagFrames(bag_of(tmp_path / "bag", events))
    assert [item.frame.depth is not None for item in frames] == [True, False]
    assert any("1 of 2 images have no truth: data" in note for note in frames.notes)


def realsense(*, aligned, links=()):
    """Colour and depth of one size, from two lenses."""
    color = image(0, frame_id="color")
    color_info = info(0)
    color_info.header.frame_id = "color"
    other = info(0, camera=CAMERA if aligned else Camera(16, 8, 31.0, 31.0, 7.5, 3.5))
    values = depth(0, np.full((8, 16), 3.0))
    values.header.frame_id = "color" if aligned else "depth"
    return [
        ("/tf_static", transforms_message(links, stamp=START)),
        ("/color/camera_info", color_info),
        ("/color/image_raw", color),
        ("/depth/camera_info", other),
        ("/depth/image_rect_raw", values),
    ]


def test_depth_that_is_aligned_is_truth(tmp_path):
    frames = BagFrames(bag_of(tmp_path / "bag", realsense(aligned=True)))
    (item,) = frames
    assert (item.frame.depth == 3).all()
    assert frames.notes == []


def test_depth_of_another_lens_is_no_truth(tmp_path):
    frames = BagFrames(bag_of(tmp_path / "bag", realsense(aligned=False)))
    (item,) = frames
    assert item.frame.depth is None
    assert "its frame is 'depth', that of the images 'color'" in frames.notes[0]
    with pytest.raises(ReplayError, match="is not aligned to /color/image_raw"):
        BagFrames(tmp_path / "bag", FrameOptions(truth="depth"))


def test_static_transform_that_is_none_is_skipped(tmp_path):
    message = transforms_message(
        [("laser", "eye", np.linalg.inv(LASER_TO_EYE)), ("eye", "gyro", np.eye(4))], stamp=START
    )
    message.transforms[1].transform.rotation.x = math.nan
    events = [("/tf_static", message), ("/camera_info", info(0)), ("/image", image(0))]
    frames = BagFrames(bag_of(tmp_path / "bag", [*events, ("/velo", cloud(0))]))
    (item,) = frames
    assert (item.frame.depth > 0).any()
    (note,) = frames.notes
    assert "Skipped on /tf_static: transform of frame 'gyro' has the quaternion" in note


def test_shots_without_a_return_are_no_truth(tmp_path):
    """Many scanners mark them by their own origin, which the camera may see."""
    matrix = LASER_TO_EYE.copy()
    matrix[:3, 3] = 0, 0, 0.3
    scan = cloud(0)
    returns = np.frombuffer(scan.data.tobytes(), np.float32).reshape(-1, 4)
    silent = scan_message(
        np.vstack((returns, np.zeros((50, 4), np.float32))), stamp=START, frame_id="laser"
    )
    depths = []
    for name, message in (("returns", scan), ("silence", silent)):
        static = transforms_message([("eye", "laser", matrix)], stamp=START)
        events = [("/tf_static", static), ("/camera_info", info(0)), ("/image", image(0))]
        bag = bag_of(tmp_path / name, [*events, ("/velo", message)])
        (item,) = BagFrames(bag, FrameOptions(keep_hidden=True))
        depths.append(item.frame.depth)
    np.testing.assert_array_equal(*depths)
    assert depths[0].max() > 0


def test_without_stamps_the_time_of_recording_counts(tmp_path):
    events = []
    for ms in (0, 1000):
        for topic, message in (("/image", image(ms)), ("/depth", depth(ms, np.ones((8, 16))))):
            message.header.stamp.sec = message.header.stamp.nanosec = 0
            events.append((topic, message, ms))
    frames = BagFrames(bag_of(tmp_path / "bag", events))
    read = list(frames)
    assert [item.stamp for item in read] == [START, START + 1000 * MS]
    assert all(item.frame.depth is not None for item in read)
    assert any("4 messages have no stamp" in note for note in frames.notes)
