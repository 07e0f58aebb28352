"""A network on a data set: several images at once, shared by processes."""

import json
import math
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training_runs import run, write_pairs

from depthformer_core import PRESETS, create_model
from depthformer_core.data.dataset import DatasetError, DepthDataset, Frame
from depthformer_core.evaluation import Evaluation, Protocol, evaluate
from depthformer_core.evaluation.frame import FrameEvaluation, evaluate_frame
from depthformer_core.evaluation.network import evaluate_network, map_frames
from depthformer_core.evaluation.results import to_json
from depthformer_core.evaluation.tally import Tally
from depthformer_core.inference.predictor import DepthPredictor

PROTOCOL = Protocol(max_depth=80)


class Streets(DepthDataset):
    """Random pictures; the read ones are counted."""

    def __init__(self, count: int, *, damaged: int | None = None) -> None:
        super().__init__([], name="streets", depth_format=None)
        self.files = tuple(f"{index}.png" for index in range(count))
        self.damaged = damaged
        self.read: list[int] = []
        self.pictures: list[weakref.ref[Any]] = []
        self.most_alive = 0

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Frame:
        if index == self.damaged:
            raise DatasetError(f"{index}.png is damaged")
        self.read.append(index)
        rng = np.random.default_rng(index)
        truth = rng.uniform(2, 78, (48, 64)).astype(np.float32)
        truth[rng.uniform(size=truth.shape) < 0.5] = 0
        rgb = rng.integers(1, 256, (48, 64, 3), dtype=np.uint8)
        self.pictures.append(weakref.ref(rgb))
        alive = sum(picture() is not None for picture in self.pictures)
        self.most_alive = max(alive, self.most_alive)
        return Frame(self.files[index], rgb, truth, None)


@pytest.fixture(scope="module")
def predictor() -> DepthPredictor:
    torch.manual_seed(0)
    model = create_model(PRESETS["debug"])
    return DepthPredictor(model, device="cpu", crop="none", focal="none", flip=True)


def results(evaluation: Evaluation) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(to_json(evaluation, about={}, warnings=[]))
    del values["seconds_per_image"]
    return values


def close(mine: Any, theirs: Any) -> None:
    """Compare JSON values, numbers to 1e-6."""
    if isinstance(theirs, dict):
        assert mine.keys() == theirs.keys()
        for key, value in theirs.items():
            close(mine[key], value)
    elif isinstance(theirs, list):
        assert len(mine) == len(theirs)
        for one, other in zip(mine, theirs, strict=True):
            close(one, other)
    elif isinstance(theirs, float):
        assert mine == pytest.approx(theirs, rel=1e-6, abs=1e-6)
    else:
        assert mine == theirs


def sequential(predictor: DepthPredictor, dataset: Streets, *, keep: int = 0) -> Evaluation:
    def predict(rgb: Any, camera: Any) -> Any:
        prediction = predictor.predict(rgb, camera)
        return prediction.depth, prediction.uncertainty

    return evaluate(predict, dataset, protocol=PROTOCOL, keep=keep)


def test_several_images_at_once_have_the_results_of_one_after_another(
    predictor: DepthPredictor,
) -> None:
    mine = evaluate_network(predictor, Streets(11), protocol=PROTOCOL, keep=2)
    theirs = sequential(predictor, Streets(11), keep=2)
    close(results(mine), results(theirs))
    for kind in ("worst", "best", "first"):
        kept = [[one.file for one in getattr(result, kind)] for result in (mine, theirs)]
        assert kept[0] == kept[1]
    assert mine.uncertainty is not None


def test_results_come_in_the_order_of_the_images(predictor: DepthPredictor) -> None:
    names = map_frames(
        lambda index, result: (index, result.row["file"]),
        predictor,
        Streets(20),
        protocol=PROTOCOL,
    )
    assert list(names) == [(index, f"{index}.png") for index in range(20)]


def test_few_images_are_in_memory(predictor: DepthPredictor) -> None:
    dataset = Streets(40)
    evaluate_network(predictor, dataset, protocol=PROTOCOL, keep=1)
    assert dataset.most_alive <= 16


def test_it_ends_early_where_it_is_to_stop(predictor: DepthPredictor) -> None:
    dataset = Streets(200)
    stop = threading.Event()

    def note(index: int, _: FrameEvaluation) -> None:
        if index == 3:
            stop.set()

    list(map_frames(note, predictor, dataset, protocol=PROTOCOL, stop=stop.is_set))
    assert len(dataset.read) < 50


def test_a_damaged_image_is_the_error_and_the_cores_are_given_back(
    predictor: DepthPredictor,
) -> None:
    cores = torch.get_num_threads()
    dataset = Streets(100, damaged=5)
    with pytest.raises(DatasetError, match=r"5\.png is damaged"):
        evaluate_network(predictor, dataset, protocol=PROTOCOL)
    assert len(dataset.read) < 50
    assert torch.get_num_threads() == cores


@pytest.mark.parametrize("count", [1, 2, 7])
def test_tallies_of_parts_merge_into_that_of_all(count: int) -> None:
    frames = [Streets(9)[index] for index in range(9)]

    def evaluated(frame: Frame) -> FrameEvaluation:
        assert frame.depth is not None
        wrong = np.float32(1 + int(frame.file[0]) / 20)
        depth = np.where(frame.depth > 0, frame.depth, 5) * wrong
        return evaluate_frame(lambda *_: (depth, 0.1 * depth), frame, protocol=PROTOCOL)

    whole = Tally(PROTOCOL, keep=2)
    parts = [Tally(PROTOCOL, keep=2) for _ in range(count)]
    for index, frame in enumerate(frames):
        whole.add(index, evaluated(frame))
        parts[index % count].add(index, evaluated(frame))
    first, *others = parts
    for other in others:
        first.merge(other)
    close(results(first.result()), results(whole.result()))
    assert [one.file for one in first.result().worst] == ["8.png", "7.png"]
    assert [one.file for one in first.result().best] == ["0.png", "1.png"]


def test_first_images_are_kept_where_no_part_has_truth() -> None:
    parts = [Tally(PROTOCOL, keep=3) for _ in range(2)]
    for index in range(6):
        frame = Streets(6)[index]
        empty = Frame(frame.file, frame.rgb, np.zeros((48, 64), np.float32), None)
        result = evaluate_frame(lambda *_: np.ones((48, 64), np.float32), empty, protocol=PROTOCOL)
        parts[index % 2].add(index, result)
    parts[1].merge(parts[0])
    result = parts[1].result()
    assert [one.file for one in result.first] == ["0.png", "1.png", "2.png"]
    assert math.isnan(result.mean["abs_rel"])


@pytest.mark.slow
def test_processes_share_the_images(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    root = tmp_path / "train"
    data = ("--data.root", root, "--data.name", "folder", "--data.depth-scale", 1000)

    def command(output: Path) -> list[str]:
        given = ("evaluate", "debug", *data, "--flip", "--device", "cpu", "--output", output)
        return [str(value) for value in given]

    alone, together = tmp_path / "alone", tmp_path / "together"
    run(command(alone))
    for processes in (2, 4):
        text = run(command(together), processes=processes)
        # One of the processes prints and writes.
        assert text.count("6 images") == 1
        mine, theirs = (
            json.loads((folder / "results.json").read_text()) for folder in (together, alone)
        )
        for values in (mine, theirs):
            del values["about"], values["seconds_per_image"]
        close(mine, theirs)
    (root / "rgb" / "3.png").write_bytes(b"no picture")
    assert "3.png" in run(command(together), processes=2, code=1)
