"""Errors of one depth image."""

import math

import numpy as np
import numpy.typing as npt
import pytest

from depthformer_core.evaluation.metrics import (
    KITTI_BENCHMARK_METRICS,
    METRICS,
    depth_metrics,
    kitti_benchmark_metrics,
    mean_over_images,
)

Depth = npt.NDArray[np.float32]


@pytest.fixture
def pair() -> tuple[Depth, Depth, npt.NDArray[np.bool_]]:
    rng = np.random.default_rng(0)
    truth = rng.uniform(1, 80, (20, 30)).astype(np.float32)
    prediction = truth * rng.uniform(0.5, 2, truth.shape).astype(np.float32)
    valid = rng.uniform(size=truth.shape) < 0.4
    # What does not count may hold anything.
    truth[~valid] = 0
    prediction[~valid] = np.nan
    return prediction, truth, valid


def test_nine_metrics_pixel_by_pixel(pair: tuple[Depth, Depth, npt.NDArray[np.bool_]]) -> None:
    prediction, truth, valid = pair
    pixels = list(zip(prediction[valid].tolist(), truth[valid].tolist(), strict=True))

    def mean(values: list[float]) -> float:
        return math.fsum(values) / len(values)

    logarithms = [math.log(p / t) for p, t in pixels]
    expected = {
        f"a{power}": mean([max(p / t, t / p) < 1.25**power for p, t in pixels])
        for power in (1, 2, 3)
    }
    expected |= {
        "abs_rel": mean([abs(p - t) / t for p, t in pixels]),
        "rmse": math.sqrt(mean([(p - t) ** 2 for p, t in pixels])),
        "log_10": mean([abs(math.log10(p) - math.log10(t)) for p, t in pixels]),
        "rmse_log": math.sqrt(mean([value**2 for value in logarithms])),
        "silog": 100 * math.sqrt(mean([(value - mean(logarithms)) ** 2 for value in logarithms])),
        "sq_rel": mean([(p - t) ** 2 / t for p, t in pixels]),
    }
    result = depth_metrics(prediction, truth, valid=valid)
    assert tuple(result) == METRICS
    assert result == pytest.approx(expected, rel=1e-12)
    assert all(type(value) is float for value in result.values())


def test_kitti_benchmark_metrics_pixel_by_pixel(
    pair: tuple[Depth, Depth, npt.NDArray[np.bool_]],
) -> None:
    prediction, truth, valid = pair
    p, t = prediction[valid].astype(np.float64), truth[valid].astype(np.float64)
    result = kitti_benchmark_metrics(prediction, truth, valid=valid)
    assert tuple(result) == KITTI_BENCHMARK_METRICS
    assert result == pytest.approx(
        {
            "silog": 100 * np.std(np.log(p / t)),
            "sq_error_rel": 100 * np.mean(((p - t) / t) ** 2),
            "abs_error_rel": 100 * np.mean(abs(p - t) / t),
            "irmse": np.sqrt(np.mean((1000 / p - 1000 / t) ** 2)),
        },
        rel=1e-10,
    )


def test_by_hand() -> None:
    truth, prediction = np.array([[2.0, 4.0]]), np.array([[3.0, 4.0]])
    valid = np.ones((1, 2), bool)
    result = depth_metrics(prediction, truth, valid=valid)
    assert result["a1"] == 0.5
    assert result["a2"] == 1.0
    assert result["abs_rel"] == 0.25
    assert result["rmse"] == pytest.approx(math.sqrt(0.5))
    assert result["sq_rel"] == 0.25
    server = kitti_benchmark_metrics(prediction, truth, valid=valid)
    assert server["sq_error_rel"] == 12.5
    assert server["abs_error_rel"] == 25.0
    assert server["irmse"] == pytest.approx(1000 * math.sqrt((1 / 6) ** 2 / 2))


def test_a_factor_of_exactly_the_threshold_is_no_hit() -> None:
    for prediction, truth in ((5.0, 4.0), (4.0, 5.0)):
        result = depth_metrics(
            np.array([[prediction]]), np.array([[truth]]), valid=np.ones((1, 1), bool)
        )
        assert result["a1"] == 0.0


@pytest.mark.parametrize("factor", [1.0, 3.0, 1 / 7], ids=["right", "too far", "too near"])
def test_a_wrong_scale_alone_has_no_silog(factor: float) -> None:
    truth = np.random.default_rng(1).uniform(1, 80, (40, 50))
    result = depth_metrics(truth * factor, truth, valid=np.ones(truth.shape, bool))
    assert result["silog"] == pytest.approx(0, abs=1e-5)
    assert result["abs_rel"] == pytest.approx(abs(factor - 1))


@pytest.mark.parametrize(
    ("metrics", "names"),
    [(depth_metrics, METRICS), (kitti_benchmark_metrics, KITTI_BENCHMARK_METRICS)],
    ids=["nine", "server"],
)
def test_no_valid_pixel_is_no_number(metrics: object, names: tuple[str, ...]) -> None:
    assert callable(metrics)
    ones = np.ones((2, 3))
    result = metrics(ones, ones, valid=np.zeros((2, 3), bool))
    assert tuple(result) == names
    assert all(math.isnan(value) for value in result.values())


@pytest.mark.parametrize(
    ("prediction", "truth", "message"),
    [
        (np.ones((2, 2)), np.ones((2, 3)), r"\(2, 2\), \(2, 3\)"),
        (np.zeros((2, 3)), np.ones((2, 3)), "prediction must be positive and finite, got 0.0"),
        (np.full((2, 3), np.nan), np.ones((2, 3)), "prediction must .* got nan"),
        (np.ones((2, 3)), np.full((2, 3), -1.5), "truth must be positive and finite, got -1.5"),
    ],
    ids=["shape", "zero", "nan", "negative truth"],
)
def test_bad_depth_is_refused(prediction: Depth, truth: Depth, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        depth_metrics(prediction, truth, valid=np.ones(truth.shape, bool))


def test_mean_skips_images_without_a_value() -> None:
    rows = [{"a": 1.0, "b": math.nan}, {"a": math.nan, "b": math.nan}, {"a": 4.0, "b": math.nan}]
    mean = mean_over_images(rows, names=("a", "b"))
    assert mean["a"] == 2.5
    assert math.isnan(mean["b"])
