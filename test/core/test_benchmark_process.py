"""Processes of a benchmark run on request.

The functions that travel to the processes are Python's own: a process could not import this file.
"""

import functools
import operator
import os

import pytest
import torch

from depthformer_core.benchmark.process import BenchmarkProcess, BenchmarkProcessError
from depthformer_core.device import peak_memory


@pytest.mark.slow
def test_processes_run_in_turns_and_keep_their_state() -> None:
    with (
        BenchmarkProcess(functools.partial, next, iter([1, 2])) as first,
        BenchmarkProcess(functools.partial, next, iter([11, 12])) as second,
    ):
        assert [process.run() for _ in range(2) for process in (first, second)] == [1, 11, 2, 12]


@pytest.mark.slow
def test_runs_take_arguments() -> None:
    with BenchmarkProcess(functools.partial, pow) as process:
        assert [process.run(2, 5), process.run(3, 2)] == [32, 9]


@pytest.mark.slow
def test_a_run_is_in_a_process_of_its_own() -> None:
    with BenchmarkProcess(functools.partial, os.getpid) as process:
        assert process.run() == process.run() != os.getpid()


@pytest.mark.slow
def test_what_a_preparation_raises_is_raised_here() -> None:
    with (
        pytest.raises(ValueError, match=r"invalid literal.*no data"),
        BenchmarkProcess(int, "no data"),
    ):
        pass


@pytest.mark.slow
def test_what_a_run_raises_is_raised_here() -> None:
    with BenchmarkProcess(functools.partial, int, "no number") as process:
        for _ in range(2):
            with pytest.raises(ValueError, match=r"invalid literal.*no number"):
                process.run()


@pytest.mark.slow
def test_any_exception_of_a_run_is_passed_on_with_its_type_and_message() -> None:
    with BenchmarkProcess(functools.partial, operator.truediv, 1) as process:
        for _ in range(2):
            with pytest.raises(BenchmarkProcessError, match="ZeroDivisionError: division by zero"):
                process.run(0)
        assert process.run(2) == 0.5


@pytest.mark.slow
def test_any_exception_of_a_preparation_is_passed_on() -> None:
    with (
        pytest.raises(BenchmarkProcessError, match=r"^ZeroDivisionError: "),
        BenchmarkProcess(operator.truediv, 1, 0),
    ):
        pass


@pytest.mark.slow
def test_the_end_of_a_process_is_reported() -> None:
    with (
        BenchmarkProcess(functools.partial, os._exit, 3) as process,
        pytest.raises(ValueError, match="exit code 3"),
    ):
        process.run()


def test_peak_memory_only_grows() -> None:
    before = peak_memory(torch.device("cpu"))
    block = torch.ones(2_000_000)
    assert peak_memory(torch.device("cpu")) >= before > block.nbytes
