"""Processes of a benchmark run on request.

The functions that travel to the processes are Python's own: a process could not import this file.
"""

import functools
import os

import pytest
import torch

from depthformer_core.benchmark.process import BenchmarkProcess, peak_memory


def test_sides_run_by_turns_and_go_on_where_they_were() -> None:
    with (
        BenchmarkProcess(functools.partial, next, iter([1, 2])) as first,
        BenchmarkProcess(functools.partial, next, iter([11, 12])) as second,
    ):
        assert [side.run() for _ in range(2) for side in (first, second)] == [1, 11, 2, 12]


def test_runs_take_arguments() -> None:
    with BenchmarkProcess(functools.partial, pow) as side:
        assert [side.run(2, 5), side.run(3, 2)] == [32, 9]


def test_a_side_has_a_process_of_its_own() -> None:
    with BenchmarkProcess(functools.partial, os.getpid) as side:
        assert side.run() == side.run() != os.getpid()


def test_what_a_preparation_raises_is_raised_here() -> None:
    with (
        pytest.raises(ValueError, match=r"invalid literal.*no data"),
        BenchmarkProcess(int, "no data"),
    ):
        pass


def test_what_a_run_raises_is_raised_here() -> None:
    with BenchmarkProcess(functools.partial, int, "no number") as side:
        for _ in range(2):
            with pytest.raises(ValueError, match=r"invalid literal.*no number"):
                side.run()


def test_a_death_is_told() -> None:
    with (
        BenchmarkProcess(functools.partial, os._exit, 3) as side,
        pytest.raises(ValueError, match="exit code 3"),
    ):
        side.run()


def test_peak_memory_only_grows() -> None:
    before = peak_memory(torch.device("cpu"))
    block = torch.ones(2_000_000)
    assert peak_memory(torch.device("cpu")) >= before > block.nbytes
