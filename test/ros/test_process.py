"""The end of child processes; test_live.py checks their environment."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from depthformer_ros.process import child_environment, end_process


def start(code: str) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print(1, flush=True); time.sleep(600)"
)
OBEDIENT = "import time; print(1, flush=True); time.sleep(600)"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_it(number: signal.Signals) -> None:
    process = start(OBEDIENT)
    end_process(process, number=number)
    assert process.returncode == -number


def test_one_that_ignores_the_signal_is_killed() -> None:
    process = start(STUBBORN)
    end_process(process, timeout=0.2)
    assert process.returncode == -signal.SIGKILL


def test_one_that_has_ended_gets_no_signal() -> None:
    process = start("print(1, flush=True)")
    process.wait(60)
    end_process(process)
    assert process.returncode == 0


def test_an_interrupted_wait_kills_it(monkeypatch: pytest.MonkeyPatch) -> None:
    process = start(STUBBORN)
    wait = process.wait

    def interrupt(timeout: float | None = None) -> int:
        if timeout is not None:
            raise KeyboardInterrupt
        return wait()

    monkeypatch.setattr(process, "wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        end_process(process)
    assert process.returncode == -signal.SIGKILL


def test_our_packages_are_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the site packages, where an editable installation is found."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    code = (
        "from importlib.util import find_spec; "
        "assert find_spec('depthformer_core') and find_spec('depthformer_ros')"
    )
    command = [sys.executable, "-S", "-c", code]
    subprocess.run(command, env=child_environment(), cwd=tmp_path, check=True)
