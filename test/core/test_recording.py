"""Recordings of a comparison, opened by readers that are not ours."""

import json
import math
import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from mcap.reader import make_reader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from depthformer_core.bags import BagError, BagReader, BagWriter
from depthformer_core.bags.errors import ReplayError
from depthformer_core.bags.messages import (
    cloud_colours,
    cloud_points,
    transforms_message,
)
from depthformer_core.evaluation.comparison import Comparison
from depthformer_core.evaluation.panels import error_panel
from depthformer_core.geometry.camera import Camera
from depthformer_core.replay.bag_frames import BagFrames
from depthformer_core.replay.frame_plan import FrameOptions
from depthformer_core.replay.recording import VIEW_FRAME, RecordingWriter, source_names

HEIGHT, WIDTH = 60, 90
CAMERA = Camera(WIDTH, HEIGHT, 70.0, 71.0, 44.0, 31.0)
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
SOURCES = ("small_kitti", "/zed/depth/depth_registered")
STEREO = "zed_depth_depth_registered"
METRICS = {"abs_rel": 0.125, "a1": 0.9, "rmse": 3.5, "scale": 1.1}


class Drive:
    """Two frames with smooth colours, sparse truth, and depth of two sources."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        rows, columns = np.mgrid[:HEIGHT, :WIDTH]
        self.rgb = np.stack((rows * 4, columns * 2, rows + columns), -1).astype(np.uint8)
        self.truth = rng.uniform(2, 70, (HEIGHT, WIDTH)).astype(np.float32)
        self.truth[rng.uniform(size=self.truth.shape) < 0.8] = 0
        self.depth = rng.uniform(2, 70, (HEIGHT, WIDTH)).astype(np.float32)
        self.depth[:5] = np.inf
        self.depth[5:9] = np.nan
        self.stereo = np.where(rows % 2 == 0, self.depth, np.nan).astype(np.float32)

    def write(self, path: Path, *, camera: Camera | None = CAMERA, fails: bool = False) -> None:
        matrix = np.eye(4)
        matrix[:3, 3] = (0.5, 0.0, 1.5)
        with RecordingWriter(path, SOURCES) as recording:
            recording.add_static(transforms_message([("base_link", "eye", matrix)], stamp=START))
            for index in range(2):
                stamp = START + index * SECOND // 10
                pose = transforms_message([("odom", "base_link", matrix)], stamp=stamp)
                recording.add_transforms(pose, stamp=stamp)
                recording.add_frame(
                    stamp,
                    self.rgb,
                    camera=camera,
                    frame_id="eye",
                    truth=self.truth,
                    predictions={
                        SOURCES[0]: self.depth,
                        SOURCES[1]: None if index else self.stereo,
                    },
                    metrics={SOURCES[0]: METRICS, SOURCES[1]: {"abs_rel": math.nan}},
                )
            if fails:
                raise RuntimeError


def decoded(path: Path) -> list[tuple[str, int, Any]]:
    """Read topic, stamp and message with the types that the file itself describes."""
    messages = []
    stores: dict[int, Any] = {}
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        assert reader.get_header().profile == "ros2"
        for schema, channel, message in reader.iter_messages():
            assert schema is not None
            assert (schema.encoding, channel.message_encoding) == ("ros2msg", "cdr")
            if schema.id not in stores:
                stores[schema.id] = get_typestore(Stores.EMPTY)
                stores[schema.id].register(get_types_from_msg(schema.data.decode(), schema.name))
            content = stores[schema.id].deserialize_cdr(message.data, schema.name)
            messages.append((channel.topic, message.log_time, content))
    return messages


@pytest.fixture(scope="module")
def drive() -> Drive:
    return Drive()


@pytest.fixture(scope="module")
def recording(drive: Drive, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recording") / "out.mcap"
    drive.write(path)
    assert [item.name for item in path.parent.iterdir()] == ["out.mcap"]
    return path


def test_another_reader_finds_every_topic(recording: Path) -> None:
    counts = Counter(topic for topic, _, _ in decoded(recording))
    both = ("/image/compressed", "/camera_info", "/truth/depth", "/truth/points", "/tf")
    both += tuple(f"/prediction/{name}" for name in ("depth", "points", "error/compressed"))
    both += tuple(f"/prediction/metrics/{name}" for name in METRICS)
    once = ("/tf_static", "/prediction/source", f"/{STEREO}/source")
    once += tuple(f"/{STEREO}/{name}" for name in ("depth", "points", "error/compressed"))
    assert counts == {**dict.fromkeys(both, 2), **dict.fromkeys(once, 1)}


def test_our_reader_finds_the_same(recording: Path) -> None:
    with BagReader(recording) as bag:
        ours = [(item.topic, item.stamp, item.type) for item in bag.messages()]
        assert bag.notes == []
    theirs = [(topic, stamp, message.__msgtype__) for topic, stamp, message in decoded(recording)]
    assert sorted(ours) == sorted(theirs)
    assert {stamp for _, stamp, _ in ours} == {START, START + SECOND // 10}


def test_depth_is_kept_to_the_bit(recording: Path, drive: Drive) -> None:
    messages = {topic: message for topic, stamp, message in decoded(recording) if stamp == START}
    known = np.where(drive.truth > 0, drive.truth, np.nan)
    depths = {"truth": known, "prediction": drive.depth, STEREO: drive.stereo}
    for name, depth in depths.items():
        message = messages[f"/{name}/depth"]
        assert (message.encoding, message.header.frame_id) == ("32FC1", "eye")
        assert (message.header.stamp.sec, message.header.stamp.nanosec) == divmod(START, SECOND)
        written = message.data.view("<f4").reshape(message.height, message.width)
        np.testing.assert_array_equal(written, depth)
    assert messages["/prediction/metrics/abs_rel"].data == METRICS["abs_rel"]
    assert messages[f"/{STEREO}/source"].data == SOURCES[1]


def test_points_lie_on_the_rays_of_their_pixels(recording: Path, drive: Drive) -> None:
    messages = {topic: message for topic, stamp, message in decoded(recording) if stamp == START}
    for name, depth in (("truth", drive.truth), ("prediction", drive.depth)):
        cloud = messages[f"/{name}/points"]
        assert cloud.is_dense
        points, colours = cloud_points(cloud)[0], cloud_colours(cloud)[0]
        assert len(points) == np.count_nonzero(np.isfinite(depth) & (depth > 0))
        columns, rows = np.rint(CAMERA.project(points)).astype(int).T
        np.testing.assert_array_equal(depth[rows, columns], points[:, 2])
        np.testing.assert_array_equal(colours, drive.rgb[rows, columns])
        np.testing.assert_allclose(CAMERA.project(points), np.stack((columns, rows), -1), atol=1e-3)


def test_pictures(recording: Path, drive: Drive) -> None:
    messages = {topic: message for topic, stamp, message in decoded(recording) if stamp == START}
    comparison = Comparison(
        "", drive.rgb, drive.truth, np.where(np.isfinite(drive.depth), drive.depth, np.nan),
        drive.truth > 0,
    )  # fmt: skip
    pictures = {}
    for name in ("/image", "/prediction/error"):
        message = messages[f"{name}/compressed"]
        pictures[message.format] = cv2.imdecode(message.data, cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(pictures["jpeg"].astype(int) - drive.rgb).mean() < 4
    np.testing.assert_array_equal(pictures["png"], error_panel(comparison))
    info = messages["/camera_info"]
    assert (info.width, info.k[0], info.k[5]) == (WIDTH, CAMERA.fx, CAMERA.cy)


def test_a_recording_can_be_replayed(recording: Path, drive: Drive) -> None:
    options = FrameOptions(image="/image/compressed", depth="/truth/depth")
    frames = [item.frame for item in BagFrames(recording, options)]
    assert len(frames) == 2
    for frame in frames:
        assert frame.camera == CAMERA
        assert frame.depth is not None
        np.testing.assert_array_equal(np.nan_to_num(frame.depth), drive.truth)


def test_static_transforms_are_one_latched_message(recording: Path) -> None:
    (message,) = (message for topic, _, message in decoded(recording) if topic == "/tf_static")
    frames = {item.child_frame_id: item.header.frame_id for item in message.transforms}
    assert frames == {"eye": "base_link", VIEW_FRAME: "eye"}
    turned = message.transforms[-1].transform.rotation
    # A third of a turn around a diagonal: x forward becomes the optical z.
    np.testing.assert_allclose([turned.x, turned.y, turned.z, turned.w], [0.5, -0.5, 0.5, 0.5])
    with recording.open("rb") as file:
        summary = make_reader(file).get_summary()
    assert summary is not None
    qualities = {item.topic: item.metadata for item in summary.channels.values()}
    (quality,) = yaml.safe_load(qualities["/tf_static"]["offered_qos_profiles"])
    assert quality["durability"] == 1  # transient local
    assert qualities["/image/compressed"]["offered_qos_profiles"] == ""


def test_without_a_camera_there_are_no_clouds(tmp_path: Path, drive: Drive) -> None:
    path = tmp_path / "new" / "out.mcap"
    drive.write(path, camera=None)
    topics = {topic for topic, _, _ in decoded(path)}
    assert {"/image/compressed", "/prediction/depth", "/prediction/error/compressed"} < topics
    assert not {topic for topic in topics if topic.endswith(("/points", "camera_info"))}


def test_an_exception_leaves_what_was_there(tmp_path: Path, drive: Drive) -> None:
    path = tmp_path / "out.mcap"
    with pytest.raises(RuntimeError):
        drive.write(path, fails=True)
    assert list(tmp_path.iterdir()) == []
    path.write_text("older")
    with pytest.raises(RuntimeError):
        drive.write(path, fails=True)
    assert path.read_text() == "older"
    drive.write(path)
    assert len(decoded(path)) > 20
    assert list(tmp_path.iterdir()) == [path]


def test_large_clouds_are_thinned(tmp_path: Path) -> None:
    camera = Camera(900, 300, 700.0, 700.0, 450.0, 150.0)
    path = tmp_path / "out.mcap"
    depth = np.full((300, 900), 10.0, np.float64)
    with RecordingWriter(path, ["a"]) as recording:
        recording.add_frame(
            START, np.zeros((300, 900, 3), np.uint8), camera=camera, frame_id="",
            truth=None, predictions={"a": depth}, metrics={},
        )  # fmt: skip
    messages = {topic: message for topic, _, message in decoded(path)}
    assert messages["/prediction/points"].width == 100 * 300
    assert messages["/prediction/points"].header.frame_id == "camera"
    assert "/prediction/error/compressed" not in messages


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        ([], []),
        (["/camera/depth"], ["prediction"]),
        (["a", "/zed/depth/image_rect"], ["prediction", "zed_depth_image_rect"]),
        (["a", "runs/2024 é//last.safetensors"], ["prediction", "runs_2024_last_safetensors"]),
        (["a", "3d", "_3d", "3d/"], ["prediction", "source_3d", "source_3d_2", "source_3d_3"]),
        (["a", "prediction", "truth", "tf", "äö"],
         ["prediction", "prediction_2", "truth_2", "tf_2", "source"]),
    ],
)  # fmt: skip
def test_names_of_sources(sources: list[str], names: list[str]) -> None:
    assert source_names(sources) == names
    for name in names:
        assert re.fullmatch("[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*", name)


def frame(**changes: Any) -> dict[str, Any]:
    depth = np.ones((HEIGHT, WIDTH), np.float32)
    rgb = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    values = {"rgb": rgb, "camera": CAMERA, "frame_id": "eye", "truth": depth}
    return {"stamp": START, **values, "predictions": {"a": depth}, "metrics": {}, **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"predictions": {"b": None}}, r"out\.mcap has no source b; it has a"),
        ({"metrics": {"b": {}}}, "has no source b"),
        ({"truth": np.ones((2, 3))}, r"the truth has size \(2, 3\), the image \(60, 90\)"),
        ({"predictions": {"a": np.ones((2, 3))}}, r"a has size \(2, 3\)"),
        ({"camera": Camera(3, 2, 1.0, 1.0, 1.0, 1.0)}, r"the camera has size \(2, 3\)"),
        ({"stamp": -1}, "must be nanoseconds since the epoch, got -1"),
    ],
)
def test_frames_that_do_not_fit(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    def record() -> None:
        with RecordingWriter(tmp_path / "out.mcap", ["a"]) as recording:
            recording.add_frame(**frame(**changes))

    with pytest.raises(ValueError, match=message):
        record()
    assert list(tmp_path.iterdir()) == []


def test_paths_that_are_refused(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag"):
        pass
    with pytest.raises(ReplayError, match=r"would change the bag .*bag that is read"):
        RecordingWriter(tmp_path / "bag" / "out.mcap", ["a"], bag=tmp_path / "bag")
    with pytest.raises(ReplayError, match="would change the bag"):
        RecordingWriter(tmp_path / "a.mcap", ["a"], bag=tmp_path / "b" / ".." / "a.mcap")
    with pytest.raises(BagError, match=r"must end with \.mcap, got .*out\.bag"):
        RecordingWriter(tmp_path / "out.bag", ["a"])
    (tmp_path / "folder.mcap").mkdir()
    with pytest.raises(BagError, match=r"folder\.mcap is a folder"):
        RecordingWriter(tmp_path / "folder.mcap", ["a"])
    for sources in ([], ["a", "a"]):
        with pytest.raises(ReplayError, match="needs sources, each once"):
            RecordingWriter(tmp_path / "out.mcap", sources)


def test_transforms_of_a_bags_own_types(tmp_path: Path, recording: Path) -> None:
    """Transforms read from a bag are objects of types that it describes itself."""
    (message,) = (message for topic, _, message in decoded(recording) if topic == "/tf_static")
    path = tmp_path / "out.mcap"
    with RecordingWriter(path, ["a"]) as again:
        again.add_static(message)
        again.add_transforms(message, stamp=START)
        again.add_frame(**frame(predictions={}))
        again.add_static(transforms_message([("eye", "other", np.eye(4))], stamp=START))
        again.add_frame(**frame(predictions={}))
    latched = [message for topic, _, message in decoded(path) if topic == "/tf_static"]
    children = [[item.child_frame_id for item in message.transforms] for message in latched]
    assert children == [["eye", VIEW_FRAME], ["eye", VIEW_FRAME, "other"]]


@pytest.mark.skipif(shutil.which("rerun") is None, reason="needs Rerun: pip install rerun-sdk")
def test_rerun_understands_every_message(recording: Path, tmp_path: Path) -> None:
    # A home without a configuration: Rerun sends nothing in its first session.
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}

    def rerun(*arguments: str) -> str:
        done = subprocess.run(
            ["rerun", *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "✗" not in rerun("mcap", "check", str(recording))
    rerun("mcap", "convert", str(recording), "-o", "out.rrd")
    columns = set(re.findall(r"/[\w/]+@\w+:\w+", rerun("rrd", "print", "-v", "out.rrd")))
    assert columns > {
        "/image/compressed@EncodedImage:blob",
        "/camera_info@Pinhole:image_from_camera",
        "/truth/depth@DepthImage:buffer",
        "/prediction/depth@DepthImage:buffer",
        "/prediction/points@Points3D:positions",
        "/prediction/points@Points3D:rgb",
        f"/{STEREO}/points@Points3D:positions",
        "/prediction/error/compressed@EncodedImage:blob",
        "/tf_static@Transform3D:quaternion",
        "/prediction/source@TextDocument:text",
    }


def layout_topics(repository: Path) -> dict[str, set[str]]:
    """Topics that the layouts name, by file."""
    text = (repository / "config" / "replay.foxglove.json").read_text("utf-8")
    panels = json.loads(text)["configById"]
    foxglove = set()
    for panel in panels.values():
        foxglove |= {*panel.get("topics", ())}
        mode = panel.get("imageMode", {})
        foxglove |= {mode[name] for name in ("imageTopic", "calibrationTopic") if name in mode}
        foxglove |= {path["value"].partition(".")[0] for path in panel.get("paths", ())}
        if "topicPath" in panel:
            foxglove.add(panel["topicPath"].partition(".")[0])
    rviz = yaml.safe_load((repository / "config" / "replay.rviz").read_text("utf-8"))
    displays = rviz["Visualization Manager"]["Displays"]
    names = {item["Topic"]["Value"] for item in displays if "Topic" in item}
    return {"foxglove": foxglove, "rviz": names}


def test_layouts_show_what_is_written(recording: Path, repository: Path) -> None:
    written = {topic for topic, _, _ in decoded(recording)}
    topics = layout_topics(repository)
    for shown in topics.values():
        assert shown
        assert shown <= written
        assert {
            "/image/compressed",
            "/truth/points",
            "/prediction/points",
            "/prediction/error/compressed",
        } <= shown
    assert {f"/prediction/metrics/{name}" for name in ("abs_rel", "a1")} <= topics["foxglove"]


def test_layouts_have_their_panels_and_frame(repository: Path) -> None:
    layout = json.loads((repository / "config" / "replay.foxglove.json").read_text("utf-8"))

    def panels(node: Any) -> list[str]:
        return [node] if isinstance(node, str) else panels(node["first"]) + panels(node["second"])

    assert sorted(panels(layout["layout"])) == sorted(layout["configById"])
    rviz = yaml.safe_load((repository / "config" / "replay.rviz").read_text("utf-8"))
    assert rviz["Visualization Manager"]["Global Options"]["Fixed Frame"] == VIEW_FRAME
    (scene,) = (panel for name, panel in layout["configById"].items() if name.startswith("3D!"))
    assert scene["followTf"] == VIEW_FRAME
