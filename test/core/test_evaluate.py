"""Any callable, compared with the truth."""

import csv
import json
import math
import re
import runpy
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from depthformer_core.data.dataset import Frame
from depthformer_core.data.images import write_depth_png, write_png
from depthformer_core.evaluation import METRICS, PROTOCOLS, Protocol, evaluate, evaluate_frame
from depthformer_core.evaluation.latency import Latency
from depthformer_core.evaluation.metrics import depth_metrics, mean_over_images
from depthformer_core.evaluation.results import format_table, to_csv, to_json
from depthformer_core.geometry.camera import Camera

CAMERA = Camera(64, 48, 50.0, 50.0, 32.0, 24.0)
PROTOCOL = Protocol(max_depth=80)


def make_frame(seed: int, *, depth: bool = True) -> Frame:
    rng = np.random.default_rng(seed)
    truth = rng.uniform(2, 78, (48, 64)).astype(np.float32)
    truth[rng.uniform(size=truth.shape) < 0.5] = 0
    rgb = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    # The first pixel is the frame's number for the callables below.
    rgb[0, 0, 0] = seed
    return Frame(f"drive/{seed:010d}.png", rgb, truth if depth else None, CAMERA)


def truth_of(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    depth = make_frame(int(rgb[0, 0, 0])).depth
    assert depth is not None
    return depth


def too_far(rgb: npt.NDArray[np.uint8], _: Camera | None) -> npt.NDArray[np.floating[Any]]:
    """Every frame a little worse than the one before it."""
    return truth_of(rgb) * np.float32(1 + 0.1 * (int(rgb[0, 0, 0]) + 1))


FRAMES = [make_frame(seed) for seed in range(5)]


def test_the_truth_is_perfect() -> None:
    result = evaluate(lambda rgb, _: truth_of(rgb), FRAMES, protocol=PROTOCOL)
    assert set(result.mean) == set(METRICS)
    for name, value in result.mean.items():
        assert value == pytest.approx(1.0 if name in ("a1", "a2", "a3") else 0.0)
    assert result.coverage == 1.0
    assert result.scale == 1.0
    assert result.warnings() == []
    assert result.kitti_benchmark is None
    assert result.worst == result.best == []


def test_rows_are_the_metrics_of_the_protocol() -> None:
    protocol = Protocol(mask="garg", max_depth=60)
    result = evaluate(too_far, FRAMES, protocol=protocol)
    assert [row["file"] for row in result.per_image] == [frame.file for frame in FRAMES]
    for row, frame in zip(result.per_image, FRAMES, strict=True):
        assert frame.depth is not None
        valid = protocol.valid_truth(frame.depth)
        prediction = np.clip(too_far(frame.rgb, None), 0.001, 60)
        expected = depth_metrics(prediction, frame.depth, valid=valid)
        assert {name: row[name] for name in METRICS} == pytest.approx(expected)
        assert row["pixels"] == valid.sum()
        assert row == evaluate_frame(too_far, frame, protocol=protocol).row
    assert result.mean == mean_over_images(result.per_image)
    assert 1.1 < result.scale < 1.5


def test_the_camera_reaches_the_callable() -> None:
    seen = []

    def predict(rgb: npt.NDArray[np.uint8], camera: Camera | None) -> npt.NDArray[np.float32]:
        seen.append((camera, rgb.shape))
        return truth_of(rgb)

    evaluate(predict, FRAMES[:1], protocol=PROTOCOL)
    assert seen == [(CAMERA, (48, 64, 3))]


def test_errors_by_distance_are_pooled_over_pixels() -> None:
    result = evaluate(too_far, FRAMES, protocol=PROTOCOL)
    truth = np.concatenate([truth_of(frame.rgb).ravel() for frame in FRAMES])
    prediction = np.concatenate([too_far(frame.rgb, None).ravel() for frame in FRAMES])
    prediction = np.minimum(prediction, 80).astype(np.float64)
    assert [(errors.near, errors.far) for errors in result.by_distance] == [
        (0, 10),
        (10, 20),
        (20, 40),
        (40, 80),
    ]
    for errors in result.by_distance:
        inside = (truth > 0) & (truth >= errors.near) & (truth < errors.far)
        t, p = truth[inside].astype(np.float64), prediction[inside]
        assert errors.pixels == inside.sum() > 0
        assert errors.abs_rel == pytest.approx(np.mean(abs(p - t) / t))
        assert errors.rmse == pytest.approx(np.sqrt(np.mean((p - t) ** 2)))
        assert errors.a1 == pytest.approx(np.mean(np.maximum(p / t, t / p) < 1.25))
    assert result.density.counts.sum() == sum(errors.pixels for errors in result.by_distance)
    # Too far: all of it on or above the diagonal.
    assert np.tril(result.density.counts, -1).sum() == 0


def test_an_empty_range_has_no_error() -> None:
    frame = Frame("near.png", FRAMES[0].rgb, np.full((48, 64), 5, np.float32), None)
    result = evaluate(lambda rgb, _: np.ones(rgb.shape[:2]), [frame], protocol=PROTOCOL)
    assert result.by_distance[0].pixels == 48 * 64
    assert result.by_distance[3].pixels == 0
    assert math.isnan(result.by_distance[3].abs_rel)
    assert format_table(result).splitlines()[-1].split() == ["40-80", "0", "-", "-", "-"]


def test_capped_truth_is_in_the_last_range() -> None:
    frame = Frame("far.png", FRAMES[0].rgb, np.full((48, 64), 9.5, np.float32), None)
    protocol = Protocol(max_depth=10, cap=8.0)
    result = evaluate(lambda rgb, _: np.full(rgb.shape[:2], 20.0), [frame], protocol=protocol)
    assert result.mean["abs_rel"] == 0
    assert [errors.pixels for errors in result.by_distance] == [0, 0, 0, 48 * 64]


def test_missing_predictions_are_reported() -> None:
    def half(rgb: npt.NDArray[np.uint8], _: Camera | None) -> npt.NDArray[np.float32]:
        depth = truth_of(rgb)
        depth[:, ::2] = np.nan
        depth[:, 1] = np.inf
        return depth

    result = evaluate(half, FRAMES, protocol=PROTOCOL)
    assert result.mean["abs_rel"] == 0
    for row, frame in zip(result.per_image, FRAMES, strict=True):
        counted = truth_of(frame.rgb) > 0
        assert row["pixels"] == counted[:, 3::2].sum()
        assert row["coverage"] == row["pixels"] / counted.sum()
    assert 0.4 < result.coverage < 0.5
    (warning,) = result.warnings()
    assert "% of the truth has no prediction" in warning


def test_predictions_outside_the_range_are_moved_into_it() -> None:
    frame = Frame("one.png", FRAMES[0].rgb, np.full((48, 64), 40, np.float32), None)
    result = evaluate(lambda rgb, _: np.full(rgb.shape[:2], 500.0), [frame], protocol=PROTOCOL)
    assert result.mean["abs_rel"] == 1
    assert result.coverage == 1


def test_images_without_truth_are_left_out_of_the_mean() -> None:
    empty = Frame("empty.png", FRAMES[0].rgb, np.zeros((48, 64), np.float32), None)
    result = evaluate(too_far, [*FRAMES, empty], protocol=PROTOCOL, keep=9)
    assert result.mean == evaluate(too_far, FRAMES, protocol=PROTOCOL).mean
    assert result.coverage == 1
    assert math.isnan(result.per_image[-1]["coverage"])
    assert len(result.worst) == len(result.best) == 5
    assert result.warnings() == [
        "1 of 6 images have nothing to compare and are left out of the means."
    ]


def test_the_worst_and_best_images_are_kept() -> None:
    result = evaluate(too_far, FRAMES, protocol=Protocol(crop="kitti", max_depth=80), keep=2)
    errors = {row["file"]: row["abs_rel"] for row in result.per_image}
    order = sorted(errors, key=lambda file: errors[file])
    assert [comparison.file for comparison in result.best] == order[:2]
    assert [comparison.file for comparison in result.worst] == order[:-3:-1]
    kept = result.best[0]
    frame = next(frame for frame in FRAMES if frame.file == kept.file)
    np.testing.assert_array_equal(kept.rgb, frame.rgb)
    np.testing.assert_array_equal(kept.truth, frame.depth)


def test_the_servers_own_errors() -> None:
    result = evaluate(too_far, FRAMES, protocol=PROTOCOLS["kitti_benchmark"])
    assert result.kitti_benchmark is not None
    assert tuple(result.kitti_benchmark) == ("silog", "sq_error_rel", "abs_error_rel", "irmse")
    assert result.kitti_benchmark["silog"] == result.mean["silog"]
    assert result.kitti_benchmark["abs_error_rel"] == pytest.approx(100 * result.mean["abs_rel"])
    assert result.kitti_benchmark["abs_error_rel"] == pytest.approx(30, rel=1e-5)
    assert set(result.mean) == set(METRICS)
    assert "KITTI benchmark" in format_table(result)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (np.ones((48, 63)), r"must have shape \(48, 64\), got \(48, 63\)"),
        (np.ones((48, 64, 1)), r"must have shape \(48, 64\), got \(48, 64, 1\)"),
        (np.ones((48, 64), np.uint16), "must be a floating-point array in metres, got uint16"),
        ([1.0], "must be a floating-point array in metres, got list"),
        (None, "must be a floating-point array in metres, got NoneType"),
    ],
    ids=["size", "dimensions", "integers", "list", "nothing"],
)
def test_wrong_predictions_are_named(output: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        evaluate(lambda *_: output, FRAMES, protocol=PROTOCOL)
    assert FRAMES[0].file in str(caught.value)


def test_frames_without_truth_are_named() -> None:
    with pytest.raises(ValueError, match=r"0000000007\.png has no true depth"):
        evaluate(too_far, [make_frame(7, depth=False)], protocol=PROTOCOL)


def test_frames_without_truth_are_predicted_where_it_need_not_be() -> None:
    frames = [make_frame(7, depth=False), *FRAMES, make_frame(8, depth=False)]
    result = evaluate(too_far, frames, protocol=PROTOCOL, need_truth=False, keep=9)
    expected = evaluate(too_far, FRAMES, protocol=PROTOCOL)
    assert result.mean == expected.mean
    assert result.per_image[1:-1] == expected.per_image
    for row in (result.per_image[0], result.per_image[-1]):
        assert row["pixels"] == 0
        assert all(math.isnan(row[name]) for name in METRICS)
    assert len(result.worst) == len(result.best) == 5
    assert result.first == []
    assert result.warnings() == [
        "2 of 7 images have nothing to compare and are left out of the means."
    ]


def test_no_truth_at_all_is_a_result() -> None:
    frames = [make_frame(seed, depth=False) for seed in range(5)]
    result = evaluate(too_far, frames, protocol=PROTOCOL, need_truth=False, keep=2)
    assert all(math.isnan(value) for value in result.mean.values())
    assert all(math.isnan(end) for ends in result.interval.values() for end in ends)
    assert math.isnan(result.scale)
    assert math.isnan(result.coverage)
    assert result.seconds > 0
    assert result.warnings() == ["No image has anything to compare: there are no metrics."]
    assert result.worst == result.best == []
    assert [comparison.file for comparison in result.first] == [frame.file for frame in frames[:2]]
    kept = result.first[1]
    np.testing.assert_array_equal(kept.rgb, frames[1].rgb)
    np.testing.assert_array_equal(
        kept.prediction, np.clip(too_far(frames[1].rgb, None), np.float32(0.001), 80)
    )
    assert not kept.scored.any()


class Stream:
    """Frames that can be read once only, fewer than announced."""

    def __init__(self) -> None:
        self.rounds = 0

    def __len__(self) -> int:
        return 99

    def __iter__(self) -> Iterator[Frame]:
        self.rounds += 1
        yield from FRAMES


def test_frames_are_streamed_once() -> None:
    stream = Stream()
    result = evaluate(too_far, stream, protocol=PROTOCOL)
    assert stream.rounds == 1
    assert result.per_image == evaluate(too_far, FRAMES, protocol=PROTOCOL).per_image


def test_only_kept_pictures_stay_in_memory() -> None:
    pictures: list[weakref.ref[npt.NDArray[np.uint8]]] = []
    alive = []

    class Many:
        def __len__(self) -> int:
            return 60

        def __iter__(self) -> Iterator[Frame]:
            for seed in range(60):
                frame = make_frame(seed)
                pictures.append(weakref.ref(frame.rgb))
                alive.append(sum(picture() is not None for picture in pictures))
                yield frame

    evaluate(too_far, Many(), protocol=PROTOCOL, keep=2)
    # Two worst, two best, the one before and the current one.
    assert max(alive) <= 6


def test_intervals_hold_the_means() -> None:
    frames = [make_frame(seed) for seed in range(30)]
    result = evaluate(too_far, frames, protocol=PROTOCOLS["kitti_benchmark"])
    assert result.kitti_benchmark is not None
    assert set(result.interval) == {*METRICS, *result.kitti_benchmark}
    for name, mean in (result.mean | result.kitti_benchmark).items():
        low, high = result.interval[name]
        assert low <= mean <= high
    low, high = result.interval["abs_rel"]
    assert low < high


def test_errors_by_row_are_pooled_over_pixels() -> None:
    def worse_below(rgb: npt.NDArray[np.uint8], _: Camera | None) -> npt.NDArray[np.float64]:
        return truth_of(rgb) * (1 + np.arange(48)[:, None] / 100)

    result = evaluate(worse_below, FRAMES, protocol=Protocol(max_depth=200))
    assert len(result.by_row) == 12
    truth = np.stack([truth_of(frame.rgb) for frame in FRAMES])
    for band, errors in enumerate(result.by_row):
        assert (errors.top, errors.bottom) == (band / 12, (band + 1) / 12)
        rows = np.arange(4 * band, 4 * band + 4)
        pixels = (truth[:, rows] > 0).sum(axis=(0, 2))
        assert errors.pixels == pixels.sum()
        assert errors.abs_rel == pytest.approx((pixels * rows / 100).sum() / pixels.sum())
        assert errors.a1 == pytest.approx(pixels[rows < 25].sum() / pixels.sum())


@pytest.mark.parametrize("height", [1, 5, 13])
def test_bands_of_rows_fit_any_height(height: int) -> None:
    depth = np.full((height, 7), 5, np.float32)
    frame = Frame("low.png", np.zeros((height, 7, 3), np.uint8), depth, None)
    result = evaluate(lambda *_: depth, [frame], protocol=PROTOCOL)
    assert sum(errors.pixels for errors in result.by_row) == height * 7
    assert len(result.by_row) == 12


def test_truth_of_another_size_is_named() -> None:
    frame = Frame("odd.png", FRAMES[0].rgb, np.ones((48, 32), np.float32), None)
    with pytest.raises(ValueError, match=r"odd.png has size \(48, 64\), its truth \(48, 32\)"):
        evaluate(too_far, [frame], protocol=PROTOCOL)


def test_no_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="no image"):
        evaluate(too_far, [], protocol=PROTOCOL)
    with pytest.raises(ValueError, match="keep must not be negative, got -1"):
        evaluate(too_far, FRAMES, protocol=PROTOCOL, keep=-1)


def test_json_is_strict_and_whole() -> None:
    empty = Frame("empty.png", FRAMES[0].rgb, np.zeros((48, 64), np.float32), None)
    result = evaluate(too_far, [*FRAMES, empty], protocol=PROTOCOL)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = to_json(result, about={"Checkpoint": "x"}, warnings=["careful"])
    values = json.loads(text, parse_constant=refuse)
    assert values["mean"] == result.mean
    assert values["per_image"][0] == result.per_image[0]
    assert values["per_image"][-1]["abs_rel"] is None
    assert values["per_image"][-1]["pixels"] == 0
    assert values["by_distance"][0]["far"] == 10
    assert [errors["top"] for errors in values["by_row"]][:2] == [0, 1 / 12]
    assert values["interval"]["abs_rel"] == [None, None]
    assert values["latency"] is None
    assert values["protocol"]["max_depth"] == 80
    assert values["about"] == {"Checkpoint": "x"}
    assert values["warnings"] == ["careful"]


def test_csv_has_a_line_for_each_image() -> None:
    empty = Frame('a "b", c.png', FRAMES[0].rgb, np.zeros((48, 64), np.float32), None)
    result = evaluate(too_far, [*FRAMES, empty], protocol=PROTOCOL)
    rows = list(csv.DictReader(to_csv(result).splitlines()))
    assert len(rows) == 6
    assert list(rows[0])[:10] == ["file", *METRICS]
    assert float(rows[2]["rmse"]) == result.per_image[2]["rmse"]
    assert rows[5]["file"] == 'a "b", c.png'
    assert rows[5]["rmse"] == ""


def test_json_has_intervals_and_latency() -> None:
    result = evaluate(too_far, [make_frame(seed) for seed in range(9)], protocol=PROTOCOL)
    latency = Latency([0.0, 0.1], [0.05, None], late=0)
    values = json.loads(to_json(result, about={}, warnings=[], latency=latency))
    assert values["interval"]["abs_rel"] == list(result.interval["abs_rel"])
    assert values["latency"] == latency.summary()


def test_table_aligns() -> None:
    lines = format_table(evaluate(too_far, FRAMES, protocol=PROTOCOL)).splitlines()
    assert lines[0].split() == list(METRICS)
    assert len({len(line) for line in lines[:4]}) == 1
    assert [line.split()[0] for line in lines[1:4]] == ["mean", "95", "to"]
    assert lines[5].split() == ["distance", "(m)", "pixels", "abs_rel", "rmse", "(m)", "a1"]
    assert [line.split()[0] for line in lines[6:]] == ["0-10", "10-20", "20-40", "40-80"]


def test_the_documented_example_runs(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (repository / "docs" / "evaluation.md").read_text()
    example = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert example is not None
    (tmp_path / "example.py").write_text(example[1])
    frame = FRAMES[0]
    write_png(tmp_path / "my_robot" / "rgb" / "1.png", frame.rgb)
    write_depth_png(tmp_path / "my_robot" / "depth" / "1.png", truth_of(frame.rgb), scale=1000)
    monkeypatch.chdir(tmp_path)
    results = runpy.run_path("example.py", {"my_depth": truth_of})
    assert results["result"].mean["abs_rel"] < 1e-3
