"""Several bags evaluated in one call."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from commands import fail

from depthformer_core.bags import BagError, BagWriter
from depthformer_core.bags.messages import camera_info_message, depth_message, image_message
from depthformer_core.cli import main
from depthformer_core.geometry.camera import Camera
from depthformer_core.replay.drives import find_bags

CAMERA = Camera(32, 16, 20.0, 20.0, 15.5, 7.5)
START = 1_700_000_000_000_000_000
TOPICS = ("--prediction-topic", "good=/good", "bad=/bad")


def write(path: Path, *, frames: int = 9, error: float = 0.1) -> Path:
    rng = np.random.default_rng(3)
    with BagWriter(path) as writer:
        for frame in range(frames):
            stamp = START + frame * 100_000_000
            rgb = rng.integers(0, 255, (16, 32, 3), dtype=np.uint8)
            truth = rng.uniform(2, 40, (16, 32)).astype(np.float32)
            where = {"stamp": stamp, "frame_id": "eye"}
            writer.write("/eye/camera_info", camera_info_message(CAMERA, **where), stamp=stamp)
            writer.write("/eye/image", image_message(rgb, **where), stamp=stamp)
            writer.write("/eye/depth", depth_message(truth, **where), stamp=stamp)
            for name, factor in (("good", 1 + error / 2), ("bad", 1 + error)):
                depth = depth_message(truth * np.float32(factor), **where)
                writer.write(f"/{name}", depth, stamp=stamp + 20_000_000)
    return path


@pytest.fixture(scope="module")
def drives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three bags, of errors 0.1, 0.2 and 0.3."""
    folder = tmp_path_factory.mktemp("drives")
    for number in (1, 2, 3):
        write(folder / f"drive_{number}", error=number / 10)
    return folder


def run(*paths: Path, output: Path, options: tuple[str, ...] = ()) -> dict[str, dict[str, object]]:
    main(["replay", *map(str, paths), *TOPICS, "--output", str(output), *options])
    values = json.loads((output / "drives.json").read_text())
    return {drive["name"]: drive for drive in values["drives"]}


@pytest.mark.slow
def test_a_report_for_each_and_one_for_all(drives, tmp_path, capsys):
    found = run(drives, output=tmp_path / "out", options=("--jobs", "1"))
    assert list(found) == ["drive_1", "drive_2", "drive_3"]
    for number, drive in enumerate(found.values(), start=1):
        assert drive["figures"]["bad"]["abs_rel"] == pytest.approx(number / 10, rel=1e-4)
        assert (tmp_path / "out" / f"drive_{number}" / "report.html").exists()
    values = json.loads((tmp_path / "out" / "drives.json").read_text())
    assert values["mean"]["good"]["abs_rel"] == pytest.approx(0.1, rel=1e-4)
    assert [rank["name"] for rank in values["ranking"]] == ["good", "bad"]
    with (tmp_path / "out" / "drives.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["drive"], row["source"]) for row in rows][:2] == [
        ("drive_1", "good"), ("drive_1", "bad")]  # fmt: skip
    assert float(rows[1]["abs_rel"]) == pytest.approx(0.1, rel=1e-4)
    page = (tmp_path / "out" / "drives.html").read_text()
    assert "Depth on 3 drives" in page
    assert "drive_2/report.html" in page
    assert "drive_3" in capsys.readouterr().out


@pytest.mark.slow
def test_processes_find_the_same(drives, tmp_path):
    one = run(drives, output=tmp_path / "one", options=("--jobs", "1"))
    two = run(drives, output=tmp_path / "two", options=("--jobs", "2"))
    for name, drive in one.items():
        assert drive["figures"] == two[name]["figures"]


@pytest.mark.slow
def test_finished_bags_are_left_out(drives, tmp_path):
    options = ("--jobs", "1", "--resume")
    run(drives, output=tmp_path, options=options)
    report = tmp_path / "drive_1" / "report.html"
    report.write_text("mine")
    first = json.loads((tmp_path / "drives.json").read_text())
    shutil.rmtree(tmp_path / "drive_2")
    run(drives, output=tmp_path, options=options)
    assert report.read_text() == "mine"
    assert (tmp_path / "drive_2" / "report.html").exists()
    assert json.loads((tmp_path / "drives.json").read_text()) == first
    # Of other options nothing is left.
    run(drives, output=tmp_path, options=(*options, "--max-depth", "30"))
    assert report.read_text() != "mine"


@pytest.mark.slow
def test_changed_and_damaged_results_are_made_again(tmp_path):
    bags = [write(tmp_path / "bags" / name) for name in ("a", "b")]
    options = ("--jobs", "1", "--resume")
    run(*bags, output=tmp_path / "out", options=options)
    shutil.rmtree(bags[0])
    write(bags[0], error=0.4)
    (tmp_path / "out" / "b" / "drive.json").write_text('{"job": 1')
    found = run(*bags, output=tmp_path / "out", options=options)
    assert found["a"]["figures"]["bad"]["abs_rel"] == pytest.approx(0.4, rel=1e-4)
    assert found["b"]["figures"]["bad"]["abs_rel"] == pytest.approx(0.1, rel=1e-4)


def test_a_bad_bag_does_not_stop_the_others(drives, tmp_path, capsys):
    (tmp_path / "broken.mcap").write_bytes(b"nothing")
    with pytest.raises(SystemExit) as stop:
        run(drives / "drive_1", tmp_path / "broken.mcap", output=tmp_path / "out",
            options=("--jobs", "1"))  # fmt: skip
    assert stop.value.code == 1
    values = json.loads((tmp_path / "out" / "drives.json").read_text())
    assert [bool(drive["error"]) for drive in values["drives"]] == [False, True]
    assert "broken: " in capsys.readouterr().err
    assert "could not be evaluated" in (tmp_path / "out" / "drives.html").read_text()


@pytest.mark.slow
def test_a_requirement_holds_in_every_drive(drives, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        run(drives, output=tmp_path, options=("--jobs", "1", "--require", "bad:abs_rel<0.25"))
    assert stop.value.code == 3
    said = capsys.readouterr().err
    assert "bad:abs_rel<0.25 does not hold for bad of drive_3: it is 0.3" in said
    assert "drive_2: it is" not in said


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_run_goes_on_where_it_was(tmp_path, number):
    bags = [write(tmp_path / "bags" / f"drive_{place}", frames=60) for place in range(6)]
    output = tmp_path / "out"
    command = [sys.executable, "-m", "depthformer_core.cli", "replay", str(tmp_path / "bags"),
               *TOPICS, "--output", str(output), "--jobs", "2", "--resume"]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    finished = [output / bag.name / "drive.json" for bag in bags]
    while not any(path.exists() for path in finished):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    process.wait(60)
    end = time.monotonic() + 30
    # Its processes end with it.
    while _group_lives(process.pid):
        assert time.monotonic() < end
        time.sleep(0.1)
    done = {path: path.stat().st_mtime_ns for path in finished if path.exists()}
    assert 0 < len(done) < 6
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    assert all(path.exists() for path in finished)
    assert done == {path: path.stat().st_mtime_ns for path in done}
    assert len(json.loads((output / "drives.json").read_text())["drives"]) == 6


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_bags_in_folders_and_patterns(drives, tmp_path):
    three = [drives / f"drive_{number}" for number in (1, 2, 3)]
    assert find_bags([drives]) == three
    assert find_bags([drives.parent / drives.name / "drive_[13]"]) == [three[0], three[2]]
    assert find_bags([three[1], drives]) == [three[1], three[0], three[2]]
    nested = tmp_path / "robot" / "monday"
    nested.mkdir(parents=True)
    files = [nested / "x.mcap", nested / "y.bag", nested / "z.mcap"]
    for file in files:
        file.write_bytes(b"")
    (nested / "notes.txt").write_text("")
    assert find_bags([tmp_path]) == files
    for path, words in (
        (tmp_path / "no*", "no bag matches"),
        (tmp_path / "none", "does not exist"),
    ):
        with pytest.raises(BagError, match=words):
            find_bags([path])
    # A file beside folders.
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "w.mcap").write_bytes(b"")
    write(tmp_path / "mixed" / "v", frames=1)
    assert find_bags([tmp_path / "mixed"]) == [
        tmp_path / "mixed" / "v", tmp_path / "mixed" / "w.mcap"]  # fmt: skip
    (tmp_path / "empty").mkdir()
    with pytest.raises(BagError, match="is no bag"):
        find_bags([tmp_path / "empty"])


def test_names_of_bags_that_are_called_alike(tmp_path):
    bags = [write(tmp_path / day / "bag", frames=1) for day in ("monday", "tuesday")]
    assert list(run(*bags, output=tmp_path / "out", options=("--jobs", "1"))) == [
        "monday_bag", "tuesday_bag"]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--jobs", "0"), "--jobs must be positive"),
        (("--node", "--attach"), "--attach plays one bag"),
    ],
)
def test_options_that_make_no_sense(drives, tmp_path, options, words):
    assert words in fail("replay", drives, *options, "--output", tmp_path)
