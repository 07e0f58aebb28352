"""The HTML page about an evaluation."""

import base64
import html.parser
import importlib.metadata
import math
import re
from typing import Any

import cv2
import numpy as np
import pytest

from depthformer_core.data.dataset import Frame
from depthformer_core.evaluation import PROTOCOLS, Evaluation, Protocol, evaluate
from depthformer_core.evaluation.comparison import Comparison
from depthformer_core.evaluation.latency import Latency
from depthformer_core.evaluation.output import provenance
from depthformer_core.evaluation.page import png_uri
from depthformer_core.evaluation.panels import error_panel, prediction_panel, truth_panel
from depthformer_core.evaluation.plots import plot_course
from depthformer_core.evaluation.report import render_report
from depthformer_core.visualize import colorize

HOSTILE = '<script>alert("x")</script>&\'.png'


class Page(html.parser.HTMLParser):
    """Tags, addresses and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.texts.append(data)


def make_evaluation(
    count: int,
    *,
    protocol: Protocol = PROTOCOLS["kitti_eigen"],
    keep: int = 2,
) -> Evaluation:
    rng = np.random.default_rng(0)
    frames = []
    for index in range(count):
        truth = rng.uniform(2, 70, (40, 60)).astype(np.float32)
        truth[rng.uniform(size=truth.shape) < 0.8] = 0
        rgb = np.full((40, 60, 3), index, np.uint8)
        frames.append(Frame(f"{index}-{HOSTILE}", rgb, truth, None))

    def predict(rgb: Any, _: Any) -> Any:
        return np.full(rgb.shape[:2], 10.0 + rgb[0, 0, 0])

    return evaluate(predict, frames, protocol=protocol, keep=keep)


def test_page_is_whole_and_asks_for_nothing() -> None:
    result = make_evaluation(7)
    text = render_report(result, about={"Checkpoint": "x.safetensors"}, warnings=[])
    page = Page(text)
    assert page.addresses
    for address in page.addresses:
        kind, data = address.split(";base64,")
        picture = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        assert kind in ("data:image/png", "data:image/jpeg")
    # Six plots; of each of two worst and two best images four pictures and two legends.
    assert len(page.addresses) == 6 + 4 * 6
    assert "://" not in re.sub(r"base64,[^\"]*", "", text)
    texts = " ".join(page.texts)
    for row in result.per_image:
        assert row["file"] in texts
        assert f"{row['abs_rel']:.4f}" in texts
    assert f"{result.mean['abs_rel']:.1%}" in texts
    assert f"{result.mean['rmse']:.4f} m" in texts
    assert "Garg" in texts


def test_every_name_is_escaped() -> None:
    result = make_evaluation(3)
    text = render_report(result, about={HOSTILE: HOSTILE}, warnings=[HOSTILE])
    page = Page(text)
    assert page.tags.count("script") == 1
    assert "alert(" in " ".join(page.texts)
    assert '<script>alert("x")' not in text


def test_few_images_are_shown_once() -> None:
    page = Page(render_report(make_evaluation(3), about={"Checkpoint": "x"}, warnings=[]))
    assert len(page.addresses) == 6 + 3 * 6


def test_nothing_compared_is_still_a_page() -> None:
    frame = Frame("empty.png", np.zeros((40, 60, 3), np.uint8), np.zeros((40, 60)), None)
    result = evaluate(
        lambda rgb, _: np.ones(rgb.shape[:2]), [frame], protocol=Protocol(max_depth=80), keep=2
    )
    page = Page(render_report(result, about={"Checkpoint": "x"}, warnings=result.warnings()))
    # The image, its prediction and a legend.
    assert len(page.addresses) == 3
    texts = " ".join(page.texts)
    assert "No image has anything to compare" in texts
    assert "First images" in texts
    assert "Means over images" not in texts
    assert "Truth" not in texts


def test_intervals_stand_beside_the_means() -> None:
    result = make_evaluation(9)
    texts = Page(render_report(result, about={"Checkpoint": "x"}, warnings=[])).texts
    low, high = result.interval["abs_rel"]
    assert f"{low:.4f} to {high:.4f}" in texts
    assert f"95 % interval {100 * low:.1f} to {high:.1%}" in texts


@pytest.mark.parametrize(
    ("names", "times"),
    [(["1700000000.500000000", "1700000003.500000000"], [0.0, 3.0]), (["a.png", "b.png"], None)],
    ids=["stamps", "pictures"],
)
def test_times_come_from_stamps(names: list[str], times: list[float] | None) -> None:
    rgb, truth = np.zeros((8, 8, 3), np.uint8), np.ones((8, 8))
    frames = [Frame(name, rgb, truth, None) for name in names]
    result = evaluate(lambda *_: 1.5 * truth, frames, protocol=Protocol(max_depth=80))
    course = plot_course([0.5, 0.5], times=times, mean=0.5, interval=(math.nan, math.nan))
    assert png_uri(course) in render_report(result, about={"Checkpoint": "x"}, warnings=[])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seconds", "plots"),
    [([0.05, None, 0.15], 3), ([0.1, 0.1, 0.1], 3), ([None] * 3, 1), ([], 0)],
    ids=["some", "all", "none", "nothing sent"],
)
def test_latency_has_a_section(seconds: list[float | None], plots: int) -> None:
    latency = Latency([0.1 * index for index in range(len(seconds))], seconds, late=0)
    about = {"Checkpoint": "x"}
    result = make_evaluation(2, keep=0)
    page = Page(render_report(result, about=about, warnings=[], latency=latency))
    assert len(page.addresses) == 6 + plots
    texts = " ".join(page.texts)
    assert "Latency of the predictions" in texts
    assert f"of {len(seconds)} images sent have no prediction" in texts
    without = Page(render_report(result, about=about, warnings=[]))
    assert "Latency of the predictions" not in " ".join(without.texts)


@pytest.mark.slow
def test_the_servers_errors_have_a_table_and_columns() -> None:
    result = make_evaluation(2, protocol=PROTOCOLS["kitti_benchmark"], keep=0)
    texts = Page(render_report(result, about={"Checkpoint": "x"}, warnings=[])).texts
    assert "KITTI benchmark" in texts
    assert texts.count("irmse") == 2


@pytest.fixture
def comparison() -> Comparison:
    truth = np.zeros((9, 9), np.float32)
    truth[2, 2], truth[2, 3], truth[6, 6] = 10, 20, 40
    prediction = np.full((9, 9), 20, np.float32)
    prediction[0] = np.nan
    return Comparison("x.png", np.zeros((9, 9, 3), np.uint8), truth, prediction, truth > 0)


def colour(depth: float) -> list[int]:
    pixel: list[int] = colorize(np.array([[depth]], np.float32), near=1, far=80)[0, 0].tolist()
    return pixel


def test_truth_is_enlarged_without_hiding_its_neighbours(comparison: Comparison) -> None:
    panel = truth_panel(comparison, near=1, far=80)
    assert panel[2, 2].tolist() == colour(10)
    assert panel[2, 3].tolist() == colour(20)
    assert panel[1, 2].tolist() == colour(10)  # both reach it, the near one wins
    assert panel[2, 4].tolist() == colour(20)
    assert panel[5, 5].tolist() == colour(40)
    assert panel[4, 4].tolist() == [0, 0, 0]
    assert (panel.any(axis=-1)).sum() == 12 + 9


def test_prediction_has_the_same_colours(comparison: Comparison) -> None:
    panel = prediction_panel(comparison, near=1, far=80)
    assert panel[0].any() == np.False_
    assert panel[4, 4].tolist() == colour(20)


def test_errors_are_red_too_far_and_blue_too_near(comparison: Comparison) -> None:
    panel = error_panel(comparison).astype(int)
    red, _, blue = panel[2, 2]
    assert red > 2 * blue
    assert panel[2, 3].min() > 240
    red, _, blue = panel[7, 7]
    assert blue > 2 * red
    assert panel[4, 4].tolist() == [0, 0, 0]


def test_versions_are_of_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"depthformer_ros": "1.2", "openvino": "3.4"}

    def version(name: str) -> str:
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert provenance()["Versions"].startswith("depthformer_ros 1.2, OpenVINO 3.4, Python 3.")
    installed["torch"] = "5.6"
    assert "PyTorch 5.6, OpenVINO 3.4" in provenance()["Versions"]
