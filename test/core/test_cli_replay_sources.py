"""Several sources of depth judged on a generated drive."""

import json
from pathlib import Path

import numpy as np
import pytest
from commands import fail

from depthformer_core.bags import BagReader, BagWriter
from depthformer_core.bags.depth_messages import image_to_depth
from depthformer_core.bags.messages import camera_info_message, depth_message, image_message
from depthformer_core.cli import main
from depthformer_core.evaluation.protocol import Protocol
from depthformer_core.evaluation.ranking import rank_sources
from depthformer_core.geometry.camera import Camera
from depthformer_core.replay.bag_frames import BagFrames
from depthformer_core.replay.evaluation import replay_offline
from depthformer_core.replay.figures import figures
from depthformer_core.replay.frame_plan import FrameOptions
from depthformer_core.replay.prediction_topics import parse_prediction
from depthformer_core.synthetic import Drive

CAMERA = Camera(208, 64, 120.0, 120.0, 102.0, 29.0)
PROTOCOL = Protocol(max_depth=80.0)
FRAMES = 24
START = 1_700_000_000_000_000_000
MS = 1_000_000
TRUTH = "/eye/truth"
NAMES = ["ours", "noisy", "scaled", "late"]
SOURCES = ("ours=/ours/depth", "noisy=/noisy/depth", "scaled=/scaled/depth", "late=/late/depth")


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drive with exact depth, and four sources: good, noisy, 1.2 times too far, 100 ms late."""
    path = tmp_path_factory.mktemp("sources") / "bag"
    drive = Drive(13, frames=FRAMES, camera=CAMERA)
    rng = np.random.default_rng(0)
    before = None
    with BagWriter(path) as writer:
        for frame in range(FRAMES):
            rgb, truth = drive.picture(frame)
            stamp = START + frame * 100 * MS
            where = {"stamp": stamp, "frame_id": "eye"}
            writer.write("/eye/camera_info", camera_info_message(CAMERA, **where), stamp=stamp)
            writer.write("/eye/image", image_message(rgb, **where), stamp=stamp)
            writer.write(TRUTH, depth_message(truth, **where), stamp=stamp)
            ours = truth * np.exp(0.02 * np.sin(np.arange(208) / 9)).astype(np.float32)
            noise = np.exp(rng.normal(0, 0.1, truth.shape)).astype(np.float32)
            depths = {"ours": ours, "noisy": ours * noise, "scaled": ours * np.float32(1.2)}
            if before is not None:
                depths["late"] = before
            before = ours
            for name, depth in depths.items():
                recorded = stamp + (100 if name == "late" else 30) * MS
                writer.write(f"/{name}/depth", depth_message(depth, **where), stamp=recorded)
    return path


def judge(bag, *topics, predict=None, **options):
    predictions = tuple(map(parse_prediction, topics))
    frames = BagFrames(bag, FrameOptions(predictions=predictions, **options))
    return replay_offline(predict, frames, protocol=PROTOCOL, keep=2)


def test_four_sources_are_ranked_and_measured(bag):
    replay = judge(bag, *SOURCES)
    values = {source.name: figures(source) for source in replay.sources}
    ranks = rank_sources(replay.pairs)
    assert ranks[0].name == "ours"
    assert [rank.place for rank in ranks][:2] == [1, 2]
    assert all("ours" in rank.worse_than for rank in ranks[1:])
    errors = [rank.mean for rank in ranks]
    assert errors == sorted(errors)
    ours = values["ours"]
    assert values["scaled"]["scale"] / ours["scale"] == pytest.approx(1.2, rel=0.005)
    # Aligned, the scale is no error any more.
    for name in ("abs_rel_median", "abs_rel_least_squares"):
        assert values["scaled"][name] == pytest.approx(ours[name], rel=1e-3)
    assert values["late"]["p50"] == pytest.approx(0.1, abs=1e-6)
    assert ours["p50"] == pytest.approx(0.03, abs=1e-6)
    assert (values["late"]["answered"], values["late"]["dropped"]) == (FRAMES - 1, 1)
    assert values["late"]["late"] == 0


def test_all_sources_are_compared_on_the_same_pixels(bag):
    replay = judge(bag, *SOURCES)
    counted = [[np.isnan(row["abs_rel"]) for row in source.paired] for source in replay.sources]
    # The first frame has no late prediction.
    assert all(missing == [True] + [False] * (FRAMES - 1) for missing in counted)
    assert not np.isnan(replay.sources[0].evaluation.per_image[0]["abs_rel"])
    contrasts = replay.contrasts
    assert len(contrasts) == 2
    assert all(
        list(comparisons) == ["ours", "noisy", "scaled", "late"] for comparisons in contrasts
    )


def test_a_recorded_prediction_is_as_good_as_the_network_that_made_it(bag, tmp_path):
    def predict(rgb, _camera):
        return np.full(rgb.shape[:2], 12.0, np.float32) + np.arange(208, dtype=np.float32) / 20

    made = predict(np.zeros((64, 208, 3)), None)
    with BagReader(bag) as reader, BagWriter(tmp_path / "bag") as writer:
        for item in reader.messages():
            writer.write_cdr(item.topic, item.type, item.data, stamp=item.stamp,
                             latched=item.topic == "/tf_static")  # fmt: skip
            if item.topic == TRUTH:
                frame = item.message().header.frame_id
                writer.write("/answers", depth_message(made, stamp=item.stamp, frame_id=frame),
                             stamp=item.stamp)  # fmt: skip
    replay = judge(tmp_path / "bag", "/answers", predict=predict, depth=TRUTH)
    network, topic = replay.sources
    assert (network.kind, topic.kind) == ("network", "topic")
    assert network.evaluation.mean == topic.evaluation.mean
    assert network.evaluation.per_image == topic.evaluation.per_image
    assert any("recorded at its stamps" in note for note in replay.notes)


def test_relative_inverse_depth_is_aligned_first(bag, tmp_path):
    with BagReader(bag) as reader, BagWriter(tmp_path / "bag") as writer:
        for item in reader.messages():
            writer.write_cdr(item.topic, item.type, item.data, stamp=item.stamp,
                             latched=item.topic == "/tf_static")  # fmt: skip
            if item.topic == TRUTH:
                truth = image_to_depth(item.message())
                relative = (500 / truth + 40).astype(np.float32)
                frame = item.message().header.frame_id
                writer.write("/relative", depth_message(relative, stamp=item.stamp, frame_id=frame),
                             stamp=item.stamp)  # fmt: skip
    frames = BagFrames(
        tmp_path / "bag",
        FrameOptions(depth=TRUTH, predictions=(parse_prediction("/relative", inverse=True),)),
    )
    replay = replay_offline(None, frames, protocol=PROTOCOL)
    assert replay.evaluation.mean["abs_rel"] < 1e-4
    assert replay.evaluation.coverage == 1


def run(bag, output, *options):
    main(["replay", str(bag), "--output", str(output), "--prediction-topic", *SOURCES, *options])
    return json.loads((output / "results.json").read_text())


@pytest.mark.slow
def test_the_command_writes_one_report_for_all(bag, tmp_path, capsys):
    results = run(bag, tmp_path, "--require", "ours:abs_rel<0.05", "scaled:scale>1.15", "a2>0.5")
    assert results["ranking"][0]["name"] == "ours"
    assert list(results["sources"]) == NAMES
    assert (results["images"], results["common_images"]) == (FRAMES, FRAMES - 1)
    assert len(results["pairs"]) == 6
    said = capsys.readouterr().out
    assert "better beyond chance" in said
    page = (tmp_path / "report.html").read_text()
    for text in ("Ranking", "4 sources of depth", "/ours/depth", "Where the sources differ most"):
        assert text in page
    assert page.count("<img") > 10
    lines = (tmp_path / "per_image.csv").read_text().splitlines()
    assert len(lines) == 1 + 4 * FRAMES
    assert lines[0].startswith("source,file,a1")


@pytest.mark.slow
def test_a_requirement_of_one_source(bag, tmp_path):
    with pytest.raises(SystemExit) as stop:
        run(bag, tmp_path, "--require", "scaled:abs_rel<0.05", "ours:abs_rel<0.05")
    assert stop.value.code == 3
    said = fail("replay", bag, "--prediction-topic", *SOURCES, "--require", "other:a1>0",
                "--output", tmp_path)  # fmt: skip
    assert said.endswith("other:a1>0 names no source; there are ours, noisy, scaled, late")


@pytest.mark.slow
def test_results_of_several_sources_are_no_run_to_compare(bag, tmp_path):
    run(bag, tmp_path / "a")
    results = tmp_path / "a" / "results.json"
    said = fail("replay", "--compare", results, results)
    assert "it compares several sources already" in said
