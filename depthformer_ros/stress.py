"""Measure what others do to a depth node's latency.

Generated frames are played through a node in a process of its own: in quiet, beside a subscriber
that never reads, beside ten that do, and at a hundred images a second. Each case follows a quiet
one of its own, which its latency is compared with. Exit code 1 means that it was over 1.5 times as
long.
"""

import argparse
import contextlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import rclpy
from rclpy.executors import ExternalShutdownException

from depthformer_ros.probe import CLOUDS, DEPTH, Probe, probing
from depthformer_ros.soak_report import Sample, SoakError

_LIMIT = 1.5
_FLOOD = 100.0  # images a second


@dataclass(frozen=True)
class _Case:
    name: str
    listeners: int = 0
    read: bool = True
    flood: bool = False


_CASES = (
    _Case("a subscriber that never reads", listeners=1, read=False),
    _Case("ten subscribers", listeners=10),
    _Case("100 images a second", flood=True),
)


@contextlib.contextmanager
def _listening(probe: Probe, count: int, *, read: bool) -> Iterator[None]:
    """Let so many others subscribe, each in a process of its own."""
    words = ["--images", DEPTH, "--clouds", CLOUDS, *([] if read else ["--never-read"])]
    listeners = [
        subprocess.Popen(  # noqa: S603  # our own module, without a shell
            [sys.executable, "-m", "depthformer_ros.listener", *words], stdout=subprocess.DEVNULL
        )
        for _ in range(count)
    ]
    try:
        probe.wait_for_subscribers(count)
        yield
    finally:
        for listener in listeners:
            listener.kill()
        for listener in listeners:
            listener.wait()


def _measure(probe: Probe, *, seconds: float, rate: float) -> Sample:
    (sample,) = probe.run(seconds=seconds, rate=rate, every=seconds)
    if sample.p50 is None:
        raise SoakError(f"the node answered nothing for {seconds:g} s")
    return sample


def _stress(options: argparse.Namespace) -> bool:
    """Print a line for each case; whether all stay within the limit."""
    fine = True
    sys.stdout.write(f"{'':30} {'p50 ms':>14} {'ratio':>6} {'p99 ms':>14} {'ratio':>6}\n")
    with probing(options.parameters, width=options.width) as probe:
        _measure(probe, seconds=options.seconds / 3, rate=options.rate)  # the start is not quiet
        for case in _CASES:
            quiet = _measure(probe, seconds=options.seconds, rate=options.rate)
            with _listening(probe, case.listeners, read=case.read):
                rate = _FLOOD if case.flood else options.rate
                loud = _measure(probe, seconds=options.seconds, rate=rate)
            probe.wait_for_subscribers(0)
            line = f"{case.name:30}"
            for name in ("p50", "p99"):
                before, after = 1e3 * getattr(quiet, name), 1e3 * getattr(loud, name)
                fine = fine and after <= _LIMIT * before
                line += f" {f'{before:.0f} -> {after:.0f}':>14} {after / before:6.2f}"
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
    return fine


def main(args: Sequence[str] | None = None) -> None:
    """Run as the command line says; exit code 1 where something is wrong, 130 if interrupted."""
    parser = argparse.ArgumentParser(prog="python -m depthformer_ros.stress", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long each case takes")
    parser.add_argument("--rate", type=float, default=4.0, help="frames a second in quiet")
    parser.add_argument("--width", type=int, default=1242, help="columns of the frames")
    parser.add_argument("parameters", nargs="*", help="of the node, such as device:=cpu")
    options = parser.parse_args(args)
    for name in ("seconds", "rate"):
        if not getattr(options, name) > 0:
            parser.error(f"--{name} must be positive, got {getattr(options, name)}")
    if options.width < 32:
        parser.error(f"--width must be at least 32, got {options.width}")
    try:
        fine = _stress(options)
    except SoakError as error:
        sys.exit(f"stress: {error}")
    except (KeyboardInterrupt, ExternalShutdownException):
        sys.exit(130)
    finally:
        rclpy.try_shutdown()
    sys.exit(not fine)


if __name__ == "__main__":
    main()
