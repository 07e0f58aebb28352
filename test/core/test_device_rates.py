"""Work on a device is timed, and its rates are of the right size."""

import time

import torch

from depthformer_core.benchmark.device_rates import copy_rate, matrix_rate, seconds_of

CPU = torch.device("cpu")


def test_work_is_timed() -> None:
    assert 0.02 <= seconds_of(CPU, lambda: time.sleep(0.02)) < 2


def test_rates() -> None:
    assert 1e8 < matrix_rate(CPU, torch.float32) < 1e15
    assert 1e8 < copy_rate(CPU, 2**24) < 1e14
