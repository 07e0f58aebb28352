"""The study of starts distinguishes a dead run from a living one."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from depthformer_core.models import create_model
from depthformer_core.studies import convergence
from depthformer_core.studies.convergence import (
    STARTS,
    ConvergenceOptions,
    Outcome,
    format_outcomes,
    train_from,
)

OPTIONS = ConvergenceOptions(seeds=1, iterations=2, size=(32, 64), no_warm_up=True)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """So small a network gains nothing from more, and waits for them on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def start_below_the_floor(model: torch.nn.Module) -> None:
    torch.nn.init.constant_(model.head.bias, -1e3)


def test_our_start_lives() -> None:
    outcome = train_from("ours", 0, options=OPTIONS)
    assert outcome.min_depth_before < 0.01
    assert not outcome.died
    assert outcome.last_loss < 3


def test_a_dead_start_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STARTS, "dead", start_below_the_floor)
    outcome = train_from("dead", 0, options=OPTIONS)
    assert outcome.min_depth_before == outcome.min_depth_after == 1.0
    assert outcome.died
    assert outcome.last_loss > 3


def test_the_same_seed_is_the_same_run() -> None:
    first, second = (train_from("release", 1, options=OPTIONS) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("start", ["release", "PyTorch"])
def test_other_starts_put_the_bias_around_zero(start: str) -> None:
    biases = []
    for seed in range(8):
        torch.manual_seed(seed)
        model = create_model("debug")
        STARTS[start](model)
        assert model.head.bias is not None
        biases.append(model.head.bias.item())
    bound = (4 * 3 * 3) ** -0.5
    assert min(biases) < 0 < max(biases)
    assert all(abs(bias) <= bound for bias in biases)


def test_table_counts_the_dead() -> None:
    outcomes = [
        Outcome("release", 0, 1.0, 1.0, 3.5, 3.5, died=True),
        Outcome("release", 1, 0.5, 0.1, 3.1, 1.5, died=False),
        Outcome("release", 2, 0.9, 0.995, 3.3, 3.3, died=False),
        Outcome("ours", 0, 0.0, 0.0, 1.2, 1.0, died=False),
    ]
    rows = format_outcomes(outcomes).splitlines()
    assert rows[2] == "| release | 3 | 1 | 2 | 80% | 70% | 3.30 | 1.50 | 3.40 |"
    assert rows[3] == "| ours | 1 | 0 | 0 | 0% | 0% | 1.20 | 1.00 | - |"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0}, "got 0 and 2"),
        ({"batch_size": 9}, "got 20 and 9"),
    ],
    ids=["seeds", "batch size"],
)
def test_bad_option_is_named(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConvergenceOptions(**options)  # type: ignore[arg-type]


def test_unknown_start_is_named() -> None:
    with pytest.raises(ValueError, match="got 'warm'"):
        train_from("warm", 0, options=OPTIONS)


@pytest.mark.slow
def test_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "outcomes.json"
    arguments = "--seeds 1 --iterations 1 --size 32 64 --output"
    monkeypatch.setattr(sys, "argv", ["convergence", *arguments.split(), str(output)])
    convergence.main()
    assert "| ours | 1 | 0 | 0 |" in capsys.readouterr().out
    written = json.loads(output.read_text())
    assert [outcome["start"] for outcome in written["outcomes"]] == list(STARTS)
    assert written["options"]["size"] == [32, 64]


@pytest.mark.slow
def test_command_line_names_a_bad_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["convergence", "--preset", "huge", "--seeds", "1"])
    with pytest.raises(SystemExit, match="convergence: no preset 'huge'"):
        convergence.main()
