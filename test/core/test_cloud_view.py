"""Clouds of one image in the page about an evaluation."""

import base64
import gzip
import html.parser
import json
import math
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from depthformer_core.data.dataset import Frame
from depthformer_core.evaluation import Protocol, evaluate
from depthformer_core.evaluation.cloud_view import CloudView, cloud_view
from depthformer_core.evaluation.comparison import Comparison
from depthformer_core.evaluation.report import render_report
from depthformer_core.geometry.camera import Camera

CAMERA = Camera(400, 200, 100.0, 100.0, 200.0, 100.0)
HOSTILE = '<script>alert("x")</script>&\'.png'


def make_comparison(file: str = "image.png", *, truth: bool = True) -> Comparison:
    rng = np.random.default_rng(0)
    shape = CAMERA.height, CAMERA.width
    prediction = rng.uniform(5, 40, shape)
    prediction[:20] = np.nan
    prediction[20:30] = 80.0  # sky
    depth = np.zeros(shape)
    if truth:
        depth[100:] = rng.uniform(5, 40, (100, CAMERA.width))
        depth[:, ::2] = 0
    rgb = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    return Comparison(file, rgb, depth, prediction, depth > 0)


def unpack(text: str) -> str:
    return gzip.decompress(base64.b64decode(text)).decode()


def numbers(values: Any) -> Any:
    """Read an array as Plotly writes it: base64 of a type, or a list."""
    if isinstance(values, dict):
        return np.frombuffer(base64.b64decode(values["bdata"]), values["dtype"])
    return np.array(values)


def traces(view: CloudView) -> dict[str, Any]:
    return {trace["name"]: trace for trace in json.loads(unpack(view.figure))["data"]}


def positions(trace: dict[str, Any]) -> Any:
    return np.stack([numbers(trace[axis]) for axis in "xyz"], axis=-1)


def test_points_are_those_of_the_pixels() -> None:
    comparison = make_comparison()
    view = cloud_view({"small": comparison}, CAMERA)
    shown = traces(view)
    assert list(shown) == ["small", "truth"]
    forward, left, up = positions(shown["small"]).T
    pixels = CAMERA.project(np.stack((-left, -up, forward), axis=-1))
    columns, rows = np.rint(pixels).astype(int).T
    # Coordinates are rounded to 1/64 m.
    np.testing.assert_allclose(pixels, np.stack((columns, rows), -1), atol=0.4)
    np.testing.assert_allclose(forward, comparison.prediction[rows, columns], atol=1 / 64)
    wanted = ["#{:02x}{:02x}{:02x}".format(*colour) for colour in comparison.rgb[rows, columns]]
    assert shown["small"]["marker"]["color"] == wanted
    assert isinstance(shown["truth"]["marker"]["color"], str)


def test_clouds_are_bounded_and_finite() -> None:
    view = cloud_view({"small": make_comparison()}, CAMERA)
    shown = traces(view)
    assert view.points == {"small": len(positions(shown["small"]))}
    assert view.true_points == len(positions(shown["truth"]))
    for trace in shown.values():
        points = positions(trace)
        assert 4_000 < len(points) <= 15_000
        assert np.isfinite(points).all()
        # No sky.
        assert points[:, 0].max() < 41


def test_every_axis_has_the_same_scale() -> None:
    scene = json.loads(unpack(cloud_view({"a": make_comparison()}, CAMERA).figure))["layout"]
    ratios, ends = scene["scene"]["aspectratio"], scene["scene"]
    scales = [
        ratios[axis] / (ends[f"{axis}axis"]["range"][1] - ends[f"{axis}axis"]["range"][0])
        for axis in "xyz"
    ]
    assert scales == pytest.approx([scales[0]] * 3)
    # The reader looks from behind and above.
    camera = scene["scene"]["camera"]
    assert camera["eye"]["x"] < camera["center"]["x"]
    assert camera["eye"]["z"] > camera["center"]["z"]


def test_several_sources_and_none() -> None:
    comparison = make_comparison()
    view = cloud_view({"first": comparison, "<b>&": comparison}, CAMERA)
    shown = traces(view)
    assert list(shown) == ["first", "&lt;b&gt;&amp;", "truth"]
    assert "visible" not in shown["first"]
    assert shown["&lt;b&gt;&amp;"]["visible"] == "legendonly"
    assert list(view.points) == ["first", "<b>&"]
    with pytest.raises(ValueError, match="at least one source"):
        cloud_view({}, CAMERA)


def test_the_same_view_is_the_same_text() -> None:
    assert cloud_view({"a": make_comparison()}, CAMERA) == cloud_view(
        {"a": make_comparison()}, CAMERA
    )


def test_without_truth_and_without_depth() -> None:
    view = cloud_view({"a": make_comparison(truth=False)}, CAMERA)
    assert view.true_points == 0
    assert list(traces(view)) == ["a"]
    nothing = np.full((CAMERA.height, CAMERA.width), np.nan)
    rgb = np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8)
    empty = cloud_view({"a": Comparison("x", rgb, nothing, nothing, nothing > 0)}, CAMERA)
    assert empty.points == {"a": 0}
    layout = json.loads(unpack(empty.figure))["layout"]["scene"]
    assert all(math.isfinite(value) for value in layout["camera"]["eye"].values())


def test_what_does_not_fit() -> None:
    comparison = make_comparison()
    with pytest.raises(ValueError, match=r"image\.png has size 400x200, the camera 3x2"):
        cloud_view({"a": comparison}, Camera(3, 2, 1.0, 1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match=r"b is of other\.png, not image\.png"):
        cloud_view({"a": comparison, "b": make_comparison("other.png")}, CAMERA)


class Page(html.parser.HTMLParser):
    """Tags and attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: dict[str, str] = {}
        self.addresses: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name: value or "" for name, value in attrs if name != "class"}
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]


def report(cloud: CloudView | None) -> str:
    comparison = make_comparison()
    frame = Frame("a", comparison.rgb, comparison.truth, CAMERA)
    result = evaluate(
        lambda *_: np.full(comparison.truth.shape, 10.0),
        [frame],
        protocol=Protocol(max_depth=80),
        keep=1,
    )
    return render_report(result, about={"Checkpoint": "x"}, warnings=[], cloud=cloud)


def test_the_page_holds_the_view_and_asks_for_nothing() -> None:
    view = cloud_view({HOSTILE: make_comparison(HOSTILE)}, CAMERA)
    text = report(view)
    page = Page(text)
    assert page.tags.count("script") == 1
    assert unpack(page.attributes["data-figure"]) == unpack(view.figure)
    library = unpack(page.attributes["data-library"])
    assert re.match(r"/\*\*\s*\* plotly\.js v", library)
    assert "Licensed under the MIT license" in library[:200]
    assert all(address.startswith("data:image/") for address in page.addresses)
    assert "://" not in re.sub(r"base64,[^\"]*", "", text)
    assert HOSTILE not in text
    assert "Cloud of the worst frame" in text
    assert "true depth in red" in text
    # The script is no larger than a few photographs.
    assert len(view.library) < 3_000_000
    assert len(view.figure) < 500_000


@pytest.mark.slow
def test_the_page_without_a_view_has_no_script_of_it() -> None:
    text = report(None)
    assert "Plotly" not in text
    assert "data-library" not in text
    untrue = report(cloud_view({"a": make_comparison(truth=False)}, CAMERA))
    assert "true depth in red" not in untrue
    assert "Cloud of a frame" in untrue


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
def test_a_browser_shows_the_view_under_the_pages_policy(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(report(cloud_view({"a": make_comparison()}, CAMERA)), encoding="utf-8")
    command = [
        *("chromium", "--headless", "--no-sandbox", f"--user-data-dir={tmp_path / 'profile'}"),
        *("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--virtual-time-budget=60000"),
        *("--enable-logging=stderr", "--dump-dom", page.as_uri()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    # Without the scripts, which hold such words too.
    shown = re.sub("<script.*?</script>", "", done.stdout, flags=re.DOTALL)
    assert 'class="cloud js-plotly-plot"' in shown
    assert re.search('class="gl-container">.*<canvas', shown)
    assert "cannot show the cloud" not in shown
    assert "data-library" not in shown
    assert "Content Security Policy" not in done.stderr
