"""Signals to processes of ours, at the moments that matter."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from depthformer_core.signals import Signals, exit_at_sigterm

REPO = Path(__file__).parents[2]
BEGIN = """
import sys, time
from depthformer_core.signals import Signals, exit_at_sigterm
def ready():
    print("ready", flush=True)
"""


class Script:
    """A process that reports when it is ready for a signal."""

    def __init__(self, code: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", BEGIN + code],
            cwd=REPO,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def end(self, *numbers: int, pause: float = 0.0) -> tuple[int, str]:
        for number in numbers:
            self.process.send_signal(number)
            time.sleep(pause)
        output, _ = self.process.communicate(timeout=60)
        return self.process.returncode, output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("argument", "code"), [("", None), ("code=0", 0)])
def test_a_signal_ends_imports_without_a_message(
    number: signal.Signals, argument: str, code: int | None
) -> None:
    script = Script(f"with Signals({argument}):\n    ready()\n    time.sleep(60)")
    assert script.end(number) == (128 + number if code is None else code, "")


DEFERRED = """
with Signals(code=0) as signals:
    signals.defer()
    ready()
    while not signals.came:
        time.sleep(0.01)
    {then}
    print("ended by", signals.came)
"""


def test_a_deferred_signal_ends_as_the_process_likes() -> None:
    assert Script(DEFERRED.format(then="pass")).end(signal.SIGTERM) == (0, "ended by 15\n")


def test_the_echo_of_a_signal_is_none() -> None:
    script = Script(DEFERRED.format(then="time.sleep(0.5)"))
    code, output = script.end(signal.SIGINT, signal.SIGINT, pause=0.05)
    assert (code, output) in [(0, "ended by 2\n")]


@pytest.mark.slow
def test_a_second_signal_ends_at_once() -> None:
    script = Script(DEFERRED.format(then="time.sleep(600)"))
    assert script.end(signal.SIGINT, signal.SIGINT, pause=1.5) == (130, "")


def test_sigterm_exits_contexts() -> None:
    script = Script(
        "try:\n    with exit_at_sigterm():\n        ready()\n        time.sleep(60)\n"
        "finally:\n    print('tidied')"
    )
    assert script.end(signal.SIGTERM) == (143, "tidied\n")


def test_sigterm_that_is_dropped_on_the_way_shows_in_the_exit_code() -> None:
    script = Script(
        "with exit_at_sigterm():\n    try:\n        ready()\n        time.sleep(60)\n"
        "    except BaseException:\n        print('went on')"
    )
    assert script.end(signal.SIGTERM) == (143, "went on\n")


def test_handlers_are_given_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Signals(), exit_at_sigterm():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_other_threads_have_no_signals() -> None:
    entered = []

    def work() -> None:
        with Signals(), exit_at_sigterm():
            entered.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert entered
