"""Recorded depth of other sources, brought to the pixels of the images."""

import numpy as np
import pytest
from bag_recordings import CAMERA, MS, START, compressed, depth, image, info
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.typesys import Stores, get_typestore

from depthformer_core.bags import TYPESTORE, BagWriter
from depthformer_core.bags.errors import ReplayError
from depthformer_core.bags.messages import scan_message, transforms_message
from depthformer_core.errors import DepthFormerError
from depthformer_core.evaluation.protocol import Protocol
from depthformer_core.geometry.camera import Camera
from depthformer_core.geometry.transforms import TransformError
from depthformer_core.replay.bag_frames import BagFrames
from depthformer_core.replay.evaluation import replay_offline
from depthformer_core.replay.frame_plan import FrameOptions
from depthformer_core.replay.prediction_topics import PredictionTopic, parse_prediction

HALF = CAMERA.resized(4, 8)
TRUTH = np.full((8, 16), 5.0, np.float32)


def bag(path, messages):
    """A bag of (topic, milliseconds of recording, message), with images and truth each 100 ms."""
    with BagWriter(path) as writer:
        for ms in range(0, 300, 100):
            stamp = START + ms * MS
            writer.write("/eye/camera_info", info(ms), stamp=stamp)
            writer.write("/eye/image", image(ms), stamp=stamp)
            writer.write("/eye/truth", depth(ms, TRUTH), stamp=stamp)
        for topic, ms, message in sorted(messages, key=lambda item: item[1]):
            writer.write(topic, message, stamp=START + ms * MS, latched=topic == "/tf_static")
    return path


def frames(path, *topics, inverse=False, **options):
    predictions = tuple(parse_prediction(topic, inverse=inverse) for topic in topics)
    return BagFrames(path, FrameOptions(depth="/eye/truth", predictions=predictions, **options))


def read(path, topic="/other", **options):
    found = frames(path, topic, **options)
    items = list(found)
    return [item.predictions.get(parse_prediction(topic).name) for item in items], found


def disparity(ms, values, *, focal=20.0, baseline=0.5, low=0.0, high=0.0):
    picture = depth(ms, values)
    return TYPESTORE.types["stereo_msgs/msg/DisparityImage"](
        header=picture.header,
        image=picture,
        f=focal,
        t=baseline,
        valid_window=info(ms).roi,
        min_disparity=low,
        max_disparity=high,
        delta_d=0.1,
    )


def with_frame(message, frame):
    message.header.frame_id = frame
    return message


def place(parent, child, *, x=0.0, z=0.0):
    matrix = np.eye(4)
    matrix[:3, 3] = (x, 0, z)
    return transforms_message([(parent, child, matrix)], stamp=START)


def test_metres_and_millimetres(tmp_path):
    values = np.full((8, 16), 7.0)
    values[0, 0] = 0
    values[0, 1] = np.inf
    for kind, topic in (("32FC1", "/other"), ("16UC1", "/steps")):
        written = np.where(np.isinf(values), 0, values * 1000) if kind == "16UC1" else values
        path = bag(tmp_path / kind, [(topic, 0, depth(0, written, encoding=kind))])
        (first, *others), _ = read(path, topic)
        assert np.isnan(first[0, 0])
        assert (first[1:] == 7).all()
        assert np.isposinf(first[0, 1]) == (kind == "32FC1")
        assert others == [None, None]


def test_half_the_resolution_with_a_calibration_of_its_own(tmp_path):
    ramp = np.arange(8, dtype=np.float32)[None].repeat(4, 0) + 3
    messages = [("/low/camera_info", 0, info(0, camera=HALF)), ("/low/depth", 0, depth(0, ramp))]
    (first, *_), _ = read(bag(tmp_path / "bag", messages), "/low/depth")
    assert first.shape == (8, 16)
    assert (first == ramp.repeat(2, 0).repeat(2, 1)).all()


def test_without_a_calibration_the_shape_decides(tmp_path):
    messages = [("/a", 0, depth(0, np.full((4, 8), 3.0))), ("/b", 0, depth(0, np.ones((8, 8))))]
    found = frames(bag(tmp_path / "bag", messages), "/a", "/b")
    first = next(iter(found))
    assert (first.predictions["/a"] == 3).all()
    assert "/b" not in first.predictions
    list(found)
    assert any("8x8 is not the view of an image of 16x8" in note for note in found.notes)


def test_another_frame_and_camera(tmp_path):
    values = np.full((8, 16), 4.0)
    messages = [
        ("/tf_static", 0, place("eye", "side", z=0.5)),
        ("/other/camera_info", 0, info(0)),
        ("/other/depth", 0, with_frame(depth(0, values), "side")),
    ]
    (first, *_), _ = read(bag(tmp_path / "bag", messages), "/other/depth")
    assert np.nanmin(first) == np.nanmax(first) == 4.5
    assert np.isfinite(first[2:-2, 2:-2]).all()


def test_a_frame_without_transform_is_refused(tmp_path):
    path = bag(tmp_path / "bag", [("/other", 0, with_frame(depth(0, TRUTH), "side"))])
    with pytest.raises(TransformError, match="/other cannot be placed: no transforms connect"):
        frames(path, "/other")


def test_another_frame_without_calibration_is_reported(tmp_path):
    messages = [
        ("/tf_static", 0, place("eye", "side", z=0.5)),
        ("/other", 0, with_frame(depth(0, TRUTH), "side")),
    ]
    found, bag_frames = read(bag(tmp_path / "bag", messages))
    assert found == [None] * 3
    assert any("no camera_info beside /other" in note for note in bag_frames.notes)


def test_points(tmp_path):
    # One point along the axis of each of three pixels.
    across, down = CAMERA.slopes()
    rays = np.array([(across[c], down[r], 1, 0) for r, c in ((2, 3), (4, 5), (6, 7))], np.float32)
    rays *= np.array([[6.0], [7.0], [8.0]], np.float32)
    rays[:, 2] -= 0.5
    cloud = scan_message(rays, stamp=START, frame_id="side")
    messages = [("/tf_static", 0, place("eye", "side", z=0.5)), ("/cloud", 0, cloud)]
    (first, *_), _ = read(bag(tmp_path / "bag", messages), "/cloud")
    assert np.isfinite(first).sum() == 3
    np.testing.assert_allclose([first[2, 3], first[4, 5], first[6, 7]], [6, 7, 8], rtol=1e-6)


def test_disparity(tmp_path):
    values = np.full((8, 16), 2.0)
    values[0, :4] = (0, -1, 0.5, 60)
    message = disparity(0, values, low=1.0, high=50.0)
    (first, *_), _ = read(bag(tmp_path / "bag", [("/stereo/disparity", 0, message)]),
                          "/stereo/disparity")  # fmt: skip
    assert np.isnan(first[0, :4]).all()
    assert (first[1:] == 5).all()


@pytest.mark.parametrize("options", [{"focal": 0.0}, {"baseline": -0.1}])
def test_disparity_without_geometry_is_reported(tmp_path, options):
    message = disparity(0, np.ones((8, 16)), **options)
    found, bag_frames = read(bag(tmp_path / "bag", [("/d", 0, message)]), "/d")
    assert found[0] is None
    assert any("of a disparity image must be positive" in note for note in bag_frames.notes)


def test_relative_inverse_depth(tmp_path):
    values = np.full((8, 16), 4.0)
    values[0, 0] = 0
    (first, *_), _ = read(bag(tmp_path / "bag", [("/r", 0, depth(0, values))]), "/r", inverse=True)
    assert np.isposinf(first[0, 0])
    assert (first[1:] == 0.25).all()


def test_names(tmp_path):
    path = bag(tmp_path / "bag", [("/zed/depth", 0, depth(0, TRUTH))])
    for topic in ("/zed/depth", "zed/depth", "zed=/zed/depth"):
        name = parse_prediction(topic).name
        assert list(next(iter(frames(path, topic))).predictions) == [name]
    with pytest.raises(ReplayError, match="two sources are named /zed/depth"):
        frames(path, "/zed/depth", "/zed/depth")
    for text in ("=/topic", "name=", ""):
        with pytest.raises(ReplayError, match="a prediction topic is"):
            parse_prediction(text)
    assert parse_prediction("a=b=/c") == PredictionTopic("a=b", "/c")


def test_topics_that_are_missing_or_no_depth(tmp_path):
    path = bag(tmp_path / "bag", [("/jpeg", 0, compressed(0, b"x" * 9))])
    with pytest.raises(ReplayError, match=r"/nothing is not in bag .* topics of depth: /eye/truth"):
        frames(path, "/nothing")
    for topic in ("/eye/image", "/jpeg", "/eye/camera_info"):
        with pytest.raises(ReplayError, match=f"{topic} of .* holds no depth"):
            frames(path, topic)
    with pytest.raises(ReplayError, match="/eye/truth is named as prediction and as truth"):
        frames(path, "/eye/truth")


def test_a_prediction_is_no_truth(tmp_path):
    path = bag(tmp_path / "bag", [("/other", 0, depth(0, TRUTH))])
    found = BagFrames(path, FrameOptions(predictions=(PredictionTopic("o", "/other"),)))
    assert found.topics.depth == "/eye/truth"


def test_the_nearest_stamp_and_late_arrivals(tmp_path):
    # Depth at 15 Hz, the last one recorded three seconds late.
    messages = [
        ("/other", late, depth(ms, np.full((8, 16), 1 + ms)))
        for ms, late in ((0, 10), (66, 76), (133, 143), (200, 3200))
    ]
    path = bag(tmp_path / "bag", messages)
    found = list(frames(path, "/other"))
    assert [item.predictions["/other"][0, 0] for item in found] == [1, 134, 201]
    assert [item.ages["/other"] for item in found] == pytest.approx([0.01, 0.01, 3.0])


def test_one_topic_of_two_that_ends_early(tmp_path):
    messages = [("/long", ms, depth(ms, TRUTH)) for ms in (0, 100, 200)]
    messages.append(("/short", 0, depth(0, TRUTH)))
    found = frames(bag(tmp_path / "bag", messages), "/long", "/short")
    assert [sorted(item.predictions) for item in found] == [
        ["/long", "/short"],
        ["/long"],
        ["/long"],
    ]
    assert any("2 of 3 images have no prediction of /short" in note for note in found.notes)


def test_damaged_predictions_are_counted(tmp_path):
    path = bag(tmp_path / "bag", [("/other", 0, depth(0, TRUTH))])
    with BagWriter(tmp_path / "cut") as writer:
        from depthformer_core.bags import BagReader

        with BagReader(path) as reader:
            for item in reader.messages():
                data = item.data[:60] if item.topic == "/other" else item.data
                writer.write_cdr(item.topic, item.type, data, stamp=item.stamp)
                if item.topic == "/other":
                    writer.write_cdr(item.topic, item.type, item.data, stamp=item.stamp)
    found = frames(tmp_path / "cut", "/other")
    assert [len(item.predictions) for item in found] == [1, 0, 0]
    assert any("1 predictions of /other were damaged" in note for note in found.notes)


def test_an_unusable_calibration_is_no_alignment(tmp_path):
    broken = info(0)
    broken.p = np.full(12, np.nan)
    messages = [("/o/camera_info", 0, broken), ("/o/depth", 0, depth(0, TRUTH))]
    found, bag_frames = read(bag(tmp_path / "bag", messages), "/o/depth")
    assert found[0] is None
    assert any("/o/camera_info is unusable" in note for note in bag_frames.notes)


def test_poses_come_with_the_frames(tmp_path):
    times = (-50, 50, 150, 250)
    poses = [transforms_message([("odom", "eye", _ahead(ms))], stamp=START + ms * MS)
             for ms in times]  # fmt: skip
    messages = [("/tf", ms, pose) for ms, pose in zip(times, poses, strict=True)]
    found = list(BagFrames(bag(tmp_path / "bag", messages)))
    assert [item.pose[2, 3] for item in found] == pytest.approx([0, 1, 2], abs=1e-6)
    (tmp_path / "still").mkdir()
    assert next(iter(BagFrames(bag(tmp_path / "still" / "bag", [])))).pose is None


def _ahead(ms):
    matrix = np.eye(4)
    matrix[2, 3] = ms / 100
    return matrix


def test_a_source_needs_the_images_camera_for_points(tmp_path):
    with BagWriter(tmp_path / "bag") as writer:
        writer.write("/image", image(0), stamp=START)
        points = scan_message(np.ones((3, 4), np.float32), stamp=START, frame_id="eye")
        writer.write("/cloud", points, stamp=START)
    found = BagFrames(tmp_path / "bag", FrameOptions(predictions=(PredictionTopic("c", "/cloud"),)))
    assert next(iter(found)).predictions == {}
    list(found)
    assert any("needs the images' camera_info" in note for note in found.notes)
    assert issubclass(ReplayError, DepthFormerError)


def test_a_bag_without_images_shows_the_depth(tmp_path):
    points = np.array([(0, 0, 4.0, 0)] * 4, np.float32)
    with BagWriter(tmp_path / "bag") as writer:
        writer.write("/zed/camera_info", info(0), stamp=START)
        writer.write("/zed/depth", depth(0, TRUTH), stamp=START)
        cloud = scan_message(points, stamp=START, frame_id="laser")
        writer.write("/cloud", cloud, stamp=START)
        writer.write("/tf_static", place("eye", "laser"), stamp=START, latched=True)
    options = FrameOptions(predictions=(parse_prediction("zed=/zed/depth"),), keep_hidden=True)
    found = BagFrames(tmp_path / "bag", options)
    (item,) = found
    assert (item.predictions["zed"] == 5).all()
    assert item.frame.depth.max() == 4
    assert item.frame.rgb.any()
    assert "The bag has no images: pictures show the depth on /zed/depth." in found.notes


def test_depth_that_is_not_aligned_is_truth_on_its_own_pixels(tmp_path):
    # The depth camera sees less than the images' camera, and stands elsewhere.
    narrow = Camera(8, 4, 20.0, 20.0, 3.5, 1.5)
    values = np.full((4, 8), 4.0, np.float32)
    messages = [
        ("/tf_static", 0, place("eye", "side", z=0.5)),
        ("/d/camera_info", 0, info(0, camera=narrow)),
        ("/d/depth", 0, with_frame(depth(0, values), "side")),
        ("/wide/camera_info", 0, info(0)),
        ("/wide/depth", 0, depth(0, np.full((8, 16), 5.0))),
    ]
    path = bag(tmp_path / "bag", messages)
    predictions = (parse_prediction("/wide/depth"),)
    with pytest.raises(ReplayError, match="by naming it as --image-topic too"):
        BagFrames(path, FrameOptions(depth="/d/depth", predictions=predictions))
    options = FrameOptions(image="/d/depth", depth="/d/depth", predictions=predictions)
    (item,) = BagFrames(path, options)
    assert (item.frame.depth == 4).all()
    assert item.frame.camera == narrow
    assert (item.predictions["/wide/depth"] == 4.5).all()


def test_a_network_needs_images(tmp_path):
    path = bag(tmp_path / "bag", [("/other", 0, depth(0, TRUTH))])
    options = FrameOptions(image="/other", predictions=(parse_prediction("/other"),))
    found = BagFrames(path, options)
    with pytest.raises(ReplayError, match=r"/other of .* is depth, no image for a network"):
        replay_offline(lambda rgb, _: rgb[..., 0] + 1.0, found, protocol=Protocol(max_depth=80.0))


def test_disparity_of_ros1(tmp_path):
    store = get_typestore(Stores.ROS1_NOETIC)
    types = store.types
    stamp = types["builtin_interfaces/msg/Time"](sec=100, nanosec=0)
    top = types["std_msgs/msg/Header"](seq=0, stamp=stamp, frame_id="eye")

    def picture(values, encoding):
        data = np.ascontiguousarray(values)
        return types["sensor_msgs/msg/Image"](
            top, 8, 16, encoding, 0, data.nbytes // 8, data.view(np.uint8).reshape(-1)
        )

    region = types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    disparities = picture(np.full((8, 16), 2, np.float32), "32FC1")
    messages = {
        "/image": picture(np.zeros((8, 16, 3), np.uint8), "rgb8"),
        # The baseline's name is in capitals there.
        "/disparity": types["stereo_msgs/msg/DisparityImage"](
            header=top, image=disparities, f=20.0, T=0.5, valid_window=region,
            min_disparity=0.0, max_disparity=64.0, delta_d=0.1,
        ),
    }  # fmt: skip
    with Ros1Writer(tmp_path / "old.bag") as writer:
        for topic, message in messages.items():
            kind = message.__msgtype__
            connection = writer.add_connection(topic, kind, typestore=store)
            writer.write(connection, 100 * 10**9, store.serialize_ros1(message, kind))
    options = FrameOptions(predictions=(parse_prediction("/disparity"),))
    (item,) = BagFrames(tmp_path / "old.bag", options)
    assert (item.predictions["/disparity"] == 5).all()
