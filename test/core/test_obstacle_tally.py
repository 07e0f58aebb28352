"""Obstacles of whole drives: counts, the nearest one ahead, time to contact, and plots."""

import json
import pickle

import cv2
import numpy as np
import pytest

from depthformer_core.evaluation.obstacle_plots import (
    plot_birds_eye,
    plot_nearest,
    plot_obstacle_counts,
)
from depthformer_core.evaluation.obstacle_tally import ObstacleAccumulator, times_to_contact
from depthformer_core.evaluation.obstacles import Cell, FrameObstacles, ObstacleOptions

OPTIONS = ObstacleOptions()
START = 1_700_000_000_000_000_000
STEP = 100_000_000


def frame(*, detected=(), missed=(), phantoms=(), unpredicted=(), nearest=None, predicted=None):
    grid = np.zeros(OPTIONS.shape, np.uint8)
    for kind, distances in (
        (Cell.DETECTED, detected), (Cell.MISSED, missed), (Cell.PHANTOM, phantoms),
        (Cell.UNPREDICTED, unpredicted),
    ):  # fmt: skip
        for distance in distances:
            row = int(distance / OPTIONS.cell)
            grid[row : row + 4, 160 + 10 * kind : 168 + 10 * kind] = kind
    return FrameObstacles(detected, missed, phantoms, unpredicted, nearest, predicted, grid)


def tally(*frames):
    accumulator = ObstacleAccumulator(OPTIONS)
    for index, found in enumerate(frames):
        accumulator.add(START + index * STEP, found)
    return accumulator


def approach(truth, prediction):
    """Result of frames with these nearest distances."""
    return tally(
        *(frame(nearest=a, predicted=b) for a, b in zip(truth, prediction, strict=True))
    ).result()


def test_counts():
    result = tally(
        frame(detected=(3.0, 12.0), missed=(7.0, 39.0), phantoms=(4.9,)),
        frame(detected=(5.0,), phantoms=(10.0, 15.0), unpredicted=(20.0,)),
        frame(),
        None,
    ).result()
    assert (result.frames, result.without_ground) == (3, 1)
    assert (result.obstacles, result.detected, result.missed) == (5, 3, 2)
    assert (result.phantoms, result.unpredicted) == (3, 1)
    assert result.missed_share == pytest.approx(0.4)
    assert result.phantoms_per_frame == pytest.approx(1.0)
    assert [(c.near, c.far, c.obstacles, c.missed, c.phantoms) for c in result.by_distance] == [
        (0, 5, 1, 0, 1),
        (5, 10, 2, 1, 0),
        (10, 20, 1, 0, 2),
        (20, 40, 1, 1, 0),
    ]
    assert result.by_distance[1].missed_share == 0.5


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("frames", [(), (None,), (frame(),)], ids=["none", "no ground", "empty"])
def test_nothing(frames):
    result = tally(*frames).result()
    assert result.obstacles == 0
    assert np.isnan(result.missed_share)
    assert np.isnan(result.nearest.mae)
    assert np.isnan(result.contact.late_share)
    json.dumps(result.to_json())


def test_parts_together_are_the_whole():
    rng = np.random.default_rng(2)
    frames = [
        frame(
            detected=tuple(rng.uniform(1, 40, 3)),
            missed=tuple(rng.uniform(1, 40, k % 3)),
            nearest=20 - 0.3 * k,
            predicted=None if k % 7 == 0 else 21 - 0.33 * k,
        )
        for k in range(40)
    ]
    whole, first, second = (ObstacleAccumulator(OPTIONS) for _ in range(3))
    for index, found in enumerate(frames):
        whole.add(START + index * STEP, found)
        (first, second)[index % 2].add(START + index * STEP, found)
    first.merge(pickle.loads(pickle.dumps(second)))
    assert first.result() == whole.result()


def test_few_numbers_a_frame_are_kept():
    accumulator = tally(*(frame(detected=(10.0,) * 20) for _ in range(100)))
    assert len(pickle.dumps(accumulator)) < 100 * 100


def test_nearest_obstacle():
    nearest = approach([10, 20, None, None, 8], [11, 18, 5, None, None]).nearest
    assert nearest.frames == 2
    assert nearest.mae == pytest.approx(1.5)
    assert nearest.bias == pytest.approx(-0.5)
    assert nearest.median_rel == pytest.approx(0.1)
    assert (nearest.free, nearest.falsely_blocked, nearest.falsely_free) == (1, 1, 1)
    assert np.isnan(nearest.interval).all()


def test_intervals():
    rng = np.random.default_rng(0)
    truth = rng.uniform(5, 30, 200)
    nearest = approach(truth.tolist(), (truth + rng.normal(0, 1, 200)).tolist()).nearest
    low, high = nearest.interval
    assert low < nearest.mae < high
    assert high - low < 0.4


def test_time_to_contact_of_a_steady_approach():
    seconds = np.arange(30) / 10
    times = times_to_contact(seconds, 30 - 8 * seconds)
    assert np.isnan(times[:2]).all()
    np.testing.assert_allclose(times[2:], (30 - 8 * seconds[2:]) / 8)


@pytest.mark.parametrize("seconds", [np.arange(30) / 10, np.arange(30) / 3, np.arange(30) / 100])
def test_one_wrong_distance_in_seven_does_no_harm(seconds):
    distances = 200 - 5 * seconds
    distances[3::7] += 0.5
    times = times_to_contact(seconds, distances)
    np.testing.assert_allclose(times[10:], distances[10:] / 5, rtol=0.06)


@pytest.mark.parametrize(
    "distances",
    [
        pytest.param([10.0] * 20, id="standing"),
        pytest.param([10 + 0.1 * k for k in range(20)], id="moving away"),
        pytest.param([np.nan] * 20, id="free"),
        pytest.param([5 - 0.1 * k if k % 3 else np.nan for k in range(20)], id="off and on"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_no_contact(distances):
    assert np.isnan(times_to_contact(np.arange(20) / 10, distances)).all()


def test_another_obstacle_starts_anew():
    seconds = np.arange(20) / 10
    distances = np.where(seconds < 1, 40 - 10 * seconds, 12 - 2 * seconds)
    times = times_to_contact(seconds, distances)
    assert np.isnan(times[10:12]).all()
    np.testing.assert_allclose(times[12:], distances[12:] / 2)


def test_rare_frames_and_equal_stamps():
    assert np.isnan(times_to_contact(np.arange(9), 50.0 - np.arange(9))).all()
    seconds = np.repeat(np.arange(10) / 10, 2)
    times = times_to_contact(seconds, 30 - 6 * seconds)
    np.testing.assert_allclose(times[6:], 5 - seconds[6:])


def test_contact_errors():
    """Twice as far, and so twice as fast: the same time. At half the speed: twice the time."""
    seconds = np.arange(30) / 10
    truth = 20.2 - 5 * seconds
    same = approach(truth.tolist(), (2 * truth).tolist()).contact
    assert same.frames == same.predicted == 28
    assert same.median_error == pytest.approx(0)
    assert (same.urgent, same.late) == (19, 0)
    slow = approach(truth.tolist(), (20.2 - 2.5 * seconds).tolist()).contact
    assert slow.late == slow.urgent == 19
    assert slow.late_share == 1
    nothing = approach(truth.tolist(), [None] * 30).contact
    assert (nothing.frames, nothing.predicted, nothing.late) == (28, 0, 19)
    assert np.isnan(nothing.median_error)


def test_json_holds_all():
    values = tally(frame(detected=(3.0,), missed=(7.0,), nearest=3.0, predicted=3.3)).result()
    text = json.loads(json.dumps(values.to_json()))
    assert text["options"]["cell"] == 0.25
    assert text["missed_share"] == 0.5
    assert text["by_distance"][1] == {
        "near": 5.0, "far": 10.0, "obstacles": 1, "missed": 1, "phantoms": 0, "missed_share": 1.0
    }  # fmt: skip
    assert text["nearest"]["mae"] == pytest.approx(0.3)
    assert text["contact"]["urgent"] == 0


def decoded(png):
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture[..., ::-1]


def has_colour(picture, colour):
    wanted = [int(colour[k : k + 2], 16) for k in (1, 3, 5)]
    return bool((picture == wanted).all(axis=-1).any())


@pytest.mark.filterwarnings("error")
def test_plots_show_what_there_is():
    red, yellow = "#c53030", "#d69e2e"
    found = frame(detected=(8.0,), missed=(12.0,), nearest=8.0)
    picture = decoded(plot_birds_eye(found, OPTIONS))
    assert has_colour(picture, red)
    assert not has_colour(picture, yellow)
    phantom = frame(phantoms=(12.0,), unpredicted=(3.0,), predicted=12.0)
    picture = decoded(plot_birds_eye(phantom, OPTIONS))
    assert has_colour(picture, yellow)
    assert not has_colour(picture, red)
    decoded(plot_birds_eye(frame(), OPTIONS))
    result = tally(found, phantom, frame()).result()
    picture = decoded(plot_obstacle_counts(result.by_distance, frames=result.frames))
    assert has_colour(picture, red)
    assert has_colour(picture, yellow)
    for times in (None, [0.0, 0.1, 0.2]):
        decoded(plot_nearest([8.0, np.nan, 7.0], [np.nan, 9.0, 7.5], times=times))
    decoded(plot_nearest([np.nan], [np.nan], times=None))
