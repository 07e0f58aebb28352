"""The learning rate, against what the official release logged in its KITTI run."""

import pytest

from depthformer_core.training.schedule import learning_rate

# Iteration from 1, and the rate to the digits that were logged.
LOGGED = {
    50: "4.824e-07",
    100: "8.726e-07",
    500: "3.993e-06",
    1000: "7.884e-06",
    2000: "1.560e-05",
    4000: "3.048e-05",
    8000: "5.607e-05",
    12800: "7.500e-05",
    16000: "6.294e-05",
    20000: "4.673e-05",
    25600: "2.500e-05",
    30000: "1.135e-05",
    36000: "9.615e-07",
    38000: "2.691e-08",
    38400: "1.167e-12",
}


@pytest.mark.parametrize("iteration", LOGGED)
def test_equals_the_release(iteration: int) -> None:
    rate = learning_rate(iteration - 1, peak=1e-4, warm_up=12_800, iterations=38_400)
    assert f"{rate:.3e}" == LOGGED[iteration]


def test_without_warm_up_starts_at_the_peak() -> None:
    assert learning_rate(0, peak=0.1, warm_up=0, iterations=10) == pytest.approx(0.1)
