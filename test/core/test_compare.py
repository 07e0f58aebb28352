"""Two evaluations set side by side."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from depthformer_core.data.dataset import Frame
from depthformer_core.evaluation import METRICS, Protocol, evaluate
from depthformer_core.evaluation.bootstrap import mean_interval
from depthformer_core.evaluation.compare import Results, compare, read_results
from depthformer_core.evaluation.compare_report import (
    comparison_to_json,
    format_comparison,
    render_comparison,
)
from depthformer_core.evaluation.latency import Latency
from depthformer_core.evaluation.results import to_json

HOSTILE = "<script>alert(1)</script>"


def write_results(
    path: Path,
    *,
    factor: float,
    names: range = range(20),
    empty: tuple[int, ...] = (),
    max_depth: float = 80.0,
    latency: Latency | None = None,
) -> Path:
    """Results of a network that is too far by a factor, and a little more on some images."""
    frames = []
    for name in names:
        rng = np.random.default_rng(name)
        depth = rng.uniform(2, 40, (12, 16)).astype(np.float32)
        stamp = f"{1700000000 + name}.000000000"
        rgb = np.full((12, 16, 3), name, np.uint8)
        frames.append(Frame(stamp, rgb, None if name in empty else depth, None))

    def predict(rgb: Any, _: Any) -> Any:
        rng = np.random.default_rng(int(rgb[0, 0, 0]))
        depth = rng.uniform(2, 40, (12, 16)).astype(np.float32)
        return depth * np.float32(factor + 0.02 * rng.uniform())

    protocol = Protocol(max_depth=max_depth)
    result = evaluate(predict, frames, protocol=protocol, need_truth=False)
    about = {"Checkpoint": f"{factor} {HOSTILE}", "Bag": "drive"}
    path.write_text(to_json(result, about=about, warnings=result.warnings(), latency=latency))
    return path


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Results, Results]:
    """The second is worse by 5 % of the depth."""
    return (
        read_results(write_results(tmp_path / "a.json", factor=1.1)),
        read_results(write_results(tmp_path / "b.json", factor=1.15)),
    )


def test_results_are_read_back(tmp_path: Path) -> None:
    latency = Latency([0.0, 0.1], [0.2, None], late=0)
    path = write_results(tmp_path / "a.json", factor=1.1, empty=(3,), latency=latency)
    results = read_results(path)
    values = json.loads(path.read_text())
    assert results.path == str(path)
    assert results.about == values["about"]
    assert results.protocol["max_depth"] == 80
    assert list(results.per_image) == [row["file"] for row in values["per_image"]]
    first = values["per_image"][0]
    assert results.per_image[first["file"]] == {name: first[name] for name in METRICS}
    assert math.isnan(results.per_image["1700000003.000000000"]["abs_rel"])
    assert results.speed["seconds_per_image"] == values["seconds_per_image"]
    assert results.speed["dropped"] == 1
    assert len(results.warnings) == 1


def test_differences_are_paired(runs: tuple[Results, Results]) -> None:
    first, second = runs
    comparison = compare(first, second)
    assert [change.metric for change in comparison.metrics] == list(METRICS)
    change = comparison.metrics[METRICS.index("abs_rel")]
    differences = [
        second.per_image[file]["abs_rel"] - first.per_image[file]["abs_rel"]
        for file in first.per_image
    ]
    assert change.difference == pytest.approx(np.mean(differences))
    assert change.difference == pytest.approx(change.second - change.first)
    assert change.difference_interval == mean_interval(differences)
    assert change.better == "first"
    # The same images are hard for both: the difference is known better than either mean.
    widths = [high - low for low, high in (change.first_interval, change.difference_interval)]
    assert widths[1] < widths[0] / 10
    assert comparison.warnings() == []


@pytest.mark.parametrize("metric", METRICS)
def test_the_better_one_is_named(runs: tuple[Results, Results], metric: str) -> None:
    changes = {change.metric: change for change in compare(*runs).metrics}
    turned = {change.metric: change for change in compare(*reversed(runs)).metrics}
    # All pixels within 1.25 in both, and silog is blind to scale.
    same = metric in ("a1", "a2", "a3", "silog")
    assert changes[metric].better == (None if same else "first")
    assert turned[metric].better == (None if same else "second")


def test_a_higher_share_is_better(tmp_path: Path) -> None:
    first = read_results(write_results(tmp_path / "a.json", factor=1.1))
    second = read_results(write_results(tmp_path / "b.json", factor=1.3))
    assert compare(first, second).metrics[0].better == "first"
    assert compare(second, first).metrics[0].better == "second"


def test_the_same_results_do_not_differ(runs: tuple[Results, Results]) -> None:
    comparison = compare(runs[0], runs[0])
    for change in comparison.metrics:
        assert change.difference == 0
        assert change.difference_interval == (0, 0)
        assert change.better is None
    assert "no clear difference" in render_comparison(comparison)


def test_only_common_images_count(tmp_path: Path) -> None:
    first = read_results(write_results(tmp_path / "a.json", factor=1.1, names=range(20)))
    second = read_results(
        write_results(tmp_path / "b.json", factor=1.2, names=range(5, 30), empty=(7,))
    )
    comparison = compare(first, second)
    assert (comparison.only_first, comparison.only_second) == (5, 10)
    assert len(comparison.images) == 15
    assert len(comparison.largest) == 14
    change = comparison.metrics[METRICS.index("abs_rel")]
    files = [image.file for image in comparison.largest]
    assert change.first == pytest.approx(
        np.mean([first.per_image[file]["abs_rel"] for file in files])
    )
    warnings = comparison.warnings()
    assert warnings[0] == (
        "5 images are only in A and 10 only in B; the 15 that both have are compared."
    )
    assert warnings[1].startswith("1 of 15 images have nothing to compare in A or B")
    assert warnings[2].startswith("B: 1 of 25 images")


def test_other_protocols_are_a_warning(tmp_path: Path) -> None:
    first = read_results(write_results(tmp_path / "a.json", factor=1.1))
    second = read_results(write_results(tmp_path / "b.json", factor=1.1, max_depth=30))
    assert compare(first, second).warnings() == [
        "A and B do not count the same pixels: max_depth is 80.0 in A, 30 in B."
    ]


def test_the_largest_changes_come_first(runs: tuple[Results, Results]) -> None:
    comparison = compare(*runs)
    sizes = [abs(image.difference) for image in comparison.largest]
    assert sizes == sorted(sizes, reverse=True)
    text = format_comparison(comparison)
    for image in comparison.largest[:5]:
        assert image.file in text
    assert comparison.largest[-1].file not in text


def test_table_aligns(runs: tuple[Results, Results]) -> None:
    head, metrics, speed, images = format_comparison(compare(*runs)).split("\n\n")
    assert head == f"A: {runs[0].path}\nB: {runs[1].path}"
    for part in (metrics, speed, images):
        assert len({len(line) for line in part.splitlines()}) == 1
    assert [line.split()[0] for line in metrics.splitlines()] == ["metric", *METRICS]


def test_json_is_strict_and_whole(runs: tuple[Results, Results]) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    comparison = compare(*runs)
    values = json.loads(comparison_to_json(comparison), parse_constant=refuse)
    change = comparison.metrics[METRICS.index("abs_rel")]
    assert values["metrics"]["abs_rel"]["difference"] == change.difference
    assert values["metrics"]["abs_rel"]["difference_interval"] == list(change.difference_interval)
    assert values["metrics"]["abs_rel"]["better"] == "first"
    assert [image["file"] for image in values["images"]] == [
        image.file for image in comparison.largest
    ]
    assert values["first"]["about"]["Bag"] == "drive"


def test_page_is_whole_and_asks_for_nothing(runs: tuple[Results, Results]) -> None:
    page = render_comparison(compare(*runs))
    assert page.count("data:image/png;base64,") == 3
    assert "://" not in page
    assert page.count("<script>") == 1
    assert HOSTILE not in page
    for file in runs[0].per_image:
        assert file in page


def test_nothing_compared_is_still_a_page(tmp_path: Path) -> None:
    path = write_results(tmp_path / "a.json", factor=1.1, names=range(3), empty=(0, 1, 2))
    comparison = compare(read_results(path), read_results(path))
    assert comparison.largest == []
    assert all(math.isnan(change.first) for change in comparison.metrics)
    assert "<img" not in render_comparison(comparison)
    assert json.loads(comparison_to_json(comparison))["metrics"]["a1"]["difference"] is None
    assert format_comparison(comparison)


def test_few_images_have_no_interval(tmp_path: Path) -> None:
    path = write_results(tmp_path / "a.json", factor=1.1, names=range(2))
    other = write_results(tmp_path / "b.json", factor=1.2, names=range(2))
    comparison = compare(read_results(path), read_results(other))
    assert {change.better for change in comparison.metrics} == {None}
    assert render_comparison(comparison).count("<img") == 3


def test_other_images_are_refused(tmp_path: Path) -> None:
    first = read_results(write_results(tmp_path / "a.json", factor=1.1, names=range(3)))
    second = read_results(write_results(tmp_path / "b.json", factor=1.1, names=range(3, 6)))
    with pytest.raises(ValueError, match="no image in common") as caught:
        compare(first, second)
    assert "1700000000.000000000 and 1700000003.000000000" in str(caught.value)


ROW = {"file": "x", **dict.fromkeys(METRICS, 0.1)}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        ("\x00\n\x01", "Expecting value"),
        ("[" * 100_000, "recursion"),
        ("3", "there is a int where mean should be in an object"),
        ("{}", "mean is missing"),
        ('{"mean": 3}', "mean is 3"),
        ('{"mean": {}, "per_image": []}', "per_image is empty"),
        ('{"mean": {}, "per_image": [3]}', "there is a int where file"),
        ('{"mean": {}, "per_image": [{"file": "x"}]}', "a1 is missing"),
        (json.dumps({"mean": {}, "per_image": [{**ROW, "a1": "b"}]}), "a1 is 'b'"),
        (json.dumps({"mean": {}, "per_image": [{**ROW, "file": None}]}), "file is None"),
        (json.dumps({"mean": {}, "per_image": [ROW, ROW]}), "two images are named x"),
        (json.dumps({"mean": {}, "per_image": [ROW], "about": 3}), "about is 3"),
        (json.dumps({"mean": {}, "per_image": [ROW], "latency": [0]}), r"latency is \[0\]"),
        (json.dumps({"mean": {}, "per_image": "x" * 999}), r"per_image is 'x{39}\.\.\.$"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_no_results_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=reason) as caught:
        read_results(path)
    message = str(caught.value)
    assert message.startswith(f"{path} holds no results of an evaluation: ")
    assert "\n" not in message


def test_a_picture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(b"\x89PNG\r\n\x1a\n\xff\xff")
    with pytest.raises(ValueError, match="holds no results"):
        read_results(path)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.json"):
        read_results(tmp_path / "none.json")


def test_the_least_that_scripts_write_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"mean": {}, "per_image": [ROW]}))
    results = read_results(path)
    assert results.about == results.protocol == results.speed == {}
    assert render_comparison(compare(results, results))
