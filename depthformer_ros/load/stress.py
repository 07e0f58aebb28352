"""Measure the latency of a depth node under load.

Generated frames are played through a node in a process of its own: without load, with a subscriber
that never reads, with ten that do, and at a hundred images a second. The latency of each case is
compared with that of a quiet run just before. Exit code 1 means that it was over 1.5 times as long.
"""

import argparse
import contextlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from depthformer_ros.load.probe import CLOUD_TOPIC, DEPTH_TOPIC, Probe, ProbeError, Sample, probing
from depthformer_ros.load.probe_command import exit_with, positive, probe_parser
from depthformer_ros.process import child_environment

_LIMIT = 1.5
_FLOOD = 100.0  # images a second


@dataclass(frozen=True)
class _Case:
    name: str
    subscribers: int = 0
    read: bool = True
    flood: bool = False


_CASES = (
    _Case("a subscriber that never reads", subscribers=1, read=False),
    _Case("ten subscribers", subscribers=10),
    _Case("100 images a second", flood=True),
)


@contextlib.contextmanager
def _subscribing(probe: Probe, count: int, *, read: bool) -> Iterator[None]:
    """Start subscribers, each in a process of its own."""
    arguments = [
        "--images",
        DEPTH_TOPIC,
        "--clouds",
        CLOUD_TOPIC,
        *([] if read else ["--never-read"]),
    ]
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(count):
            process = subprocess.Popen(  # noqa: S603  # our own module, without a shell
                [sys.executable, "-m", "depthformer_ros.load.subscriber", *arguments],
                stdout=subprocess.DEVNULL,
                env=child_environment(),
            )
            processes.append(process)
        probe.wait_for_subscribers(count)
        yield
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def _measure(probe: Probe, *, seconds: float, rate: float) -> Sample:
    (sample,) = probe.run(seconds=seconds, rate=rate, every=seconds)
    if sample.p50 is None:
        raise ProbeError(f"the node predicted nothing for {seconds:g} s")
    return sample


def main(args: Sequence[str] | None = None) -> None:
    """Run with the options of the command line; exit code 1 on a problem, 130 if interrupted."""
    parser = probe_parser("stress", description=__doc__, rate=4.0)
    parser.add_argument("--seconds", type=positive, default=30.0, help="how long each case takes")
    options = parser.parse_args(args)
    exit_with("stress", lambda: _stress(options))


def _stress(options: argparse.Namespace) -> list[str]:
    """Print a line for each case, and return those beyond the limit."""
    problems = []
    sys.stdout.write(f"{'':30} {'p50 ms':>14} {'ratio':>6} {'p99 ms':>14} {'ratio':>6}\n")
    with probing(options.parameters, width=options.width) as probe:
        _measure(probe, seconds=options.seconds / 3, rate=options.rate)  # the start is not quiet
        for case in _CASES:
            quiet = _measure(probe, seconds=options.seconds, rate=options.rate)
            with _subscribing(probe, case.subscribers, read=case.read):
                rate = _FLOOD if case.flood else options.rate
                loud = _measure(probe, seconds=options.seconds, rate=rate)
            probe.wait_for_subscribers(0)
            line = f"{case.name:30}"
            for name in ("p50", "p99"):
                before, after = 1e3 * getattr(quiet, name), 1e3 * getattr(loud, name)
                line += f" {f'{before:.0f} -> {after:.0f}':>14} {after / before:6.2f}"
                if after > _LIMIT * before:
                    problems.append(f"{case.name}: {name} is over {_LIMIT} times the quiet one")
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
    return problems


if __name__ == "__main__":
    main()
