"""A vehicle that drives by what it sees: whole drives on generated streets."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from depthformer_core.calibration.correction import DepthCorrection
from depthformer_core.errors import DepthFormerError
from depthformer_core.inference.predictor import DepthPredictor, Prediction
from depthformer_core.studies.closed_loop import __main__ as command
from depthformer_core.studies.closed_loop import report
from depthformer_core.studies.closed_loop import run as runs
from depthformer_core.studies.closed_loop.conditions import (
    CONDITIONS,
    Condition,
    Views,
    fit_corrections,
)
from depthformer_core.studies.closed_loop.drive import Outcome, drive
from depthformer_core.studies.closed_loop.footprints import free_distance
from depthformer_core.studies.closed_loop.report import format_tables
from depthformer_core.studies.closed_loop.results import (
    Drives,
    Result,
    read_results,
    write_results,
)
from depthformer_core.studies.closed_loop.run import ClosedLoopOptions, run
from depthformer_core.studies.closed_loop.scenario import (
    BLOCKED,
    KINDS,
    LENGTH,
    Scenario,
    draw_scenario,
)
from depthformer_core.types import FloatArray, Rgb

EXACT = Condition("exact", exact=True, clearing=True)
CAR, WALL, PEDESTRIAN, BESIDE, FREE = range(len(KINDS))


# A network that sees a surface at one distance everywhere; conditions multiply it by a factor.
DISTANCE = 60.0
NEAR = Condition("network", factor=7.0 / DISTANCE)
HALVED = Condition("network", factor=14.0 / DISTANCE, calibrated=True)


class Blind:
    """The network; it counts its frames."""

    def __init__(self) -> None:
        self.frames = 0

    def predict(self, rgb: Rgb, _: object) -> Prediction:
        """Predict the same for each image."""
        self.frames += 1
        depth: FloatArray = np.full(rgb.shape[:2], DISTANCE, np.float32)
        return Prediction(depth, 0.1 * depth)


def views(scenario: Scenario, network: Blind | None = None) -> Views:
    predictor: object = network or Blind()
    corrections = {HALVED.factor: DepthCorrection.factor(0.5)}
    return Views(scenario, predictor, corrections)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def wall() -> Scenario:
    return draw_scenario(0, WALL)


@pytest.fixture(scope="module")
def seen(wall: Scenario) -> Views:
    """What is seen before the wall, rendered once."""
    return views(wall)


def test_exact_depth_stops_before_a_wall(wall: Scenario, seen: Views) -> None:
    outcome = drive(wall, seen, EXACT)
    assert outcome.collision is None
    assert not outcome.braked
    assert not outcome.stuck
    assert outcome.kept is not None
    # What is kept when it is seen in time, and at most what a period and the reaction add.
    standoff = wall.course.vehicle.standoff
    assert standoff - 0.2 < outcome.kept < standoff + 0.4 * wall.speed


def test_depth_that_is_too_large_collides_or_keeps_less(wall: Scenario, seen: Views) -> None:
    exact = drive(wall, seen, EXACT)
    outcome = drive(wall, seen, Condition("far", exact=True, factor=1.5, clearing=True))
    assert exact.kept is not None
    assert outcome.collision is not None or (outcome.kept or 0) < exact.kept - 1.0


def test_without_depth_it_runs_into_the_wall(wall: Scenario, seen: Views) -> None:
    outcome = drive(wall, seen, Condition("network"))
    assert outcome.collision == pytest.approx(wall.speed)
    assert (outcome.kept, outcome.braked) == (None, False)


@pytest.fixture(scope="module")
def free() -> Views:
    """What is seen on a free street."""
    return views(draw_scenario(0, FREE))


def test_exact_depth_does_not_stop_on_a_free_street(free: Views) -> None:
    scenario = free.scenario
    outcome = drive(scenario, free, EXACT)
    assert outcome == Outcome(None, False, False, None, outcome.seconds)
    assert outcome.seconds == pytest.approx(scenario.end / scenario.speed, abs=0.2)


def test_a_phantom_stops_it_needlessly(free: Views) -> None:
    outcome = drive(free.scenario, free, NEAR)
    assert (outcome.braked, outcome.stuck, outcome.kept) == (True, True, None)
    assert drive(free.scenario, free, HALVED) == outcome


def test_frames_are_predicted_once(free: Views) -> None:
    network = Blind()
    shared = views(free.scenario, network)
    shared._seen = free._seen  # rendering takes time
    first = drive(free.scenario, shared, Condition("network"))
    frames = network.frames
    assert frames == round(first.seconds / 0.2)
    assert drive(free.scenario, shared, Condition("network", clearing=True)) == first
    assert network.frames == frames


@pytest.mark.slow
def test_exact_depth_stops_for_a_pedestrian_and_goes_on() -> None:
    scenario = draw_scenario(0, PEDESTRIAN)
    outcome = drive(scenario, views(scenario), EXACT)
    assert outcome.collision is None
    assert not outcome.stuck
    # It waited for some time.
    assert outcome.seconds > scenario.end / scenario.speed + 1
    far = drive(scenario, views(scenario), Condition("network"))
    assert far.seconds < outcome.seconds


@pytest.mark.parametrize("number", range(len(KINDS)))
def test_drives_have_what_their_kind_says_in_the_way(number: int) -> None:
    scenario = draw_scenario(3, number)
    assert scenario.kind == KINDS[number]
    start = free_distance(scenario.bodies(0.0), scenario.course, 0.0, reach=LENGTH, margin=0.3)
    times = np.arange(0.0, 9.0, 0.1)
    ever = [
        free_distance(scenario.bodies(float(time)), scenario.course, 0.0, reach=LENGTH, margin=0.3)
        for time in times
    ]
    if scenario.kind == "pedestrian":
        assert start is None
        first = next(index for index, distance in enumerate(ever) if distance is not None)
        # The vehicle can stop still.
        left = ever[first] - scenario.speed * times[first]
        assert left > scenario.reach - 1.5
        assert ever[-1] is None
        assert scenario.moving[0] < times[first] < scenario.moving[1]
    else:
        assert (start is not None) == (scenario.kind in BLOCKED)
        assert start is None or start > scenario.reach
        assert set(ever) == {start}
        assert scenario.moment(5.0) == 0.0


def test_equal_seeds_give_equal_drives() -> None:
    first, second, other = (draw_scenario(seed, PEDESTRIAN) for seed in (1, 1, 2))
    assert first.street.seed == second.street.seed != other.street.seed
    assert (first.speed, first.end, first.moving) == (second.speed, second.end, second.moving)
    np.testing.assert_array_equal(first.camera_pose(7.3), second.camera_pose(7.3))
    np.testing.assert_array_equal(
        first.street.solids(2.0).corners, second.street.solids(2.0).corners
    )
    np.testing.assert_array_equal(views(first).picture(5.0, 1.0), views(second).picture(5.0, 1.0))


def test_the_camera_is_over_the_road_and_looks_along_the_course(wall: Scenario) -> None:
    for s in (0.0, 12.3):
        pose = wall.camera_pose(s)
        rear = wall.course.pose(s)
        vehicle = wall.course.vehicle
        assert np.hypot(pose[0, 3] - rear.x, pose[2, 3] - rear.z) == pytest.approx(vehicle.camera)
        ahead = pose[:3, 2]
        assert np.arctan2(ahead[0], ahead[2]) == pytest.approx(rear.yaw)
        np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)


def result(condition: str, kind: int, *outcome: object) -> Result:
    return Result(condition, KINDS[kind], Outcome(*outcome))  # type: ignore[arg-type]


def test_tables() -> None:
    def seed(hit: float | None) -> list[Result]:
        rows = []
        for condition in CONDITIONS:
            rows += [
                result(condition.name, CAR, hit, False, False, None if hit else 2.0, 3.0),
                result(condition.name, PEDESTRIAN, None, True, True, None, 3.0),
                result(condition.name, FREE, None, True, False, None, 3.0),
            ]
        return rows

    table = format_tables([seed(None), seed(3.0)], checkpoint="small")
    lines = table.splitlines()
    assert lines[0].startswith("| depth | collisions, of 2 | their mean speed, m/s |")
    assert lines[2] == ("| exact | 0.5 (0 to 1) | 3.0 | 2.0 (2 to 2) | 1.0 (1 to 1) | 2.0 |")
    assert lines[4].startswith("| `small` |")
    second = lines[lines.index("") + 1 :]
    assert second[0].endswith("| needless: free |")
    assert second[2] == "| exact | 1 | 0 | 0 | 0 | 0 | 2 | 0 | 2 |"
    assert len(lines) == 2 * (len(CONDITIONS) + 2) + 1


def test_a_run_goes_on_where_it_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = {
        number: [
            result(condition.name, WALL, None, False, False, 2.5, 5.0) for condition in CONDITIONS
        ]
        for number in range(5)
    }
    write_results(tmp_path, 0, done, checkpoint="small")
    options = ClosedLoopOptions(drives=5, seeds=1, output=tmp_path)
    # Nothing is missing, so that nothing is driven.
    assert run(options) == [[row for number in range(5) for row in done[number]]]
    # What is missing is: a drive, and a condition of another one.
    last = done[3].pop()
    write_results(tmp_path, 0, {0: done[0], 3: done[3]}, checkpoint="small")
    asked = []

    def add(_: object, found: list[Drives], missing: list[runs._Job]) -> None:
        for job in missing:
            asked.append((job.number, [condition.name for condition in job.conditions]))
            found[job.seed][job.number] += [last]

    monkeypatch.setattr(runs, "_drive_all", add)
    assert len(run(options)[0]) == 2 * len(CONDITIONS) + 3
    every = [condition.name for condition in CONDITIONS]
    assert asked == [(1, every), (2, every), (3, every[-1:]), (4, every)]


def test_results_of_others_are_refused(tmp_path: Path) -> None:
    write_results(tmp_path, 0, {}, checkpoint="small")
    assert read_results(tmp_path, 0, checkpoint="small") == {}
    assert read_results(tmp_path, 1, checkpoint="small") == {}
    with pytest.raises(DepthFormerError, match="of the checkpoint small, not of other: name"):
        read_results(tmp_path, 0, checkpoint="other")
    for content in ({"0": [{"condition": "exact"}]}, {"a": []}, []):
        (tmp_path / "seed_0.json").write_text(
            json.dumps({"checkpoint": "small", "drives": content})
        )
        with pytest.raises(DepthFormerError, match=r"seed_0\.json holds no results of this"):
            read_results(tmp_path, 0, checkpoint="small")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drives": 4}, "drives must be 5 or more, one of each kind, got 4"),
        ({"seeds": 0}, "seeds must be 1 to 1000, got 0"),
        ({"processes": -1}, "processes must not be negative, got -1"),
    ],
)
def test_options_are_checked(options: dict[str, int], message: str) -> None:
    with pytest.raises(DepthFormerError, match=message):
        ClosedLoopOptions(**options)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_correction_undoes_an_error_of_scale() -> None:
    predictor = DepthPredictor.from_checkpoint("small", device="cpu")
    right, wrong = fit_corrections(predictor, (1.0, 1.3), drives=2).values()
    np.testing.assert_allclose(wrong.predicted, 1.3 * np.array(right.predicted), rtol=1e-3)
    np.testing.assert_allclose(wrong.corrected, right.corrected, rtol=1e-3)


@pytest.mark.slow
def test_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in (runs, report):
        monkeypatch.setattr(module, "CONDITIONS", (EXACT, Condition("network")))
    monkeypatch.setattr(runs, "fit_corrections", lambda *_: {})
    arguments = ["--drives", "5", "--seeds", "1", "--output", str(tmp_path), "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["closed_loop", *arguments])
    command.main()
    printed = capsys.readouterr().out
    assert printed == (tmp_path / "closed_loop.md").read_text()
    assert printed.count("\n| exact |") == printed.count("\n| `small` |") == 2
    assert (tmp_path / "closed_loop.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(read_results(tmp_path, 0, checkpoint="small")) == [0, 1, 2, 3, 4]
    # Nothing is driven again.
    monkeypatch.setattr(runs, "_drive_all", None)
    command.main()
    assert capsys.readouterr().out == printed
