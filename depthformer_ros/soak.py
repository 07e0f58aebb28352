"""Run a depth node for an hour and watch whether its memory and latency stay flat.

Generated frames are played at a steady rate through a node in a process of its own. Exit code 1
means that the node grew, slowed down, fell silent or ended.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException

from depthformer_core.files import replacing
from depthformer_ros.probe import probing
from depthformer_ros.soak_report import Sample, SoakError, judge, plot

# What the node does for an image besides running the network.
_OVERHEAD = ("receive", "convert", "rectify", "fit", "publish")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m depthformer_ros.soak", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("soak"), help="folder for the results")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long")
    parser.add_argument("--rate", type=float, default=10.0, help="frames a second")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between samples")
    parser.add_argument("--width", type=int, default=1242, help="columns of the frames")
    parser.add_argument("parameters", nargs="*", help="of the node, such as device:=cpu")
    return parser


def _soak(options: argparse.Namespace) -> dict[str, Any]:
    """Run as asked and write `soak.json` and `soak.png`."""
    samples: list[Sample] = []
    with probing(options.parameters, width=options.width) as probe:
        seconds = 60 * options.minutes
        for sample in probe.run(seconds=seconds, rate=options.rate, every=options.every):
            samples.append(sample)
            p99 = "no answer" if sample.p99 is None else f"p99 {1e3 * sample.p99:.0f} ms"
            sys.stdout.write(
                f"{sample.seconds / 60:6.1f} min  {sample.memory / 2**20:7.1f} MiB  {p99}\n"
            )
            sys.stdout.flush()
    verdict = judge(samples, probe.latencies)
    if probe.exit_code:
        verdict.problems.append(f"the node ended with exit code {probe.exit_code}")
    report = {
        "minutes": options.minutes,
        "rate": options.rate,
        "parameters": options.parameters,
        "exit_code": probe.exit_code,
        "stages": probe.stages,
        "verdict": asdict(verdict),
        "samples": [asdict(sample) for sample in samples],
    }
    with replacing(options.output / "soak.json") as temporary:
        temporary.write_text(json.dumps(report, indent=1) + "\n")
    with replacing(options.output / "soak.png") as temporary:
        plot(samples, temporary)
    return report


def main(args: Sequence[str] | None = None) -> None:
    """Run as the command line says; exit code 1 where something is wrong, 130 if interrupted."""
    parser = _parser()
    options = parser.parse_args(args)
    for name in ("minutes", "rate", "every"):
        if not getattr(options, name) > 0:
            parser.error(f"--{name} must be positive, got {getattr(options, name)}")
    if options.every > 60 * options.minutes:
        parser.error(f"--every is longer than the run: {options.every} s")
    if options.width < 32:
        parser.error(f"--width must be at least 32, got {options.width}")
    try:
        report = _soak(options)
    except SoakError as error:
        sys.exit(f"soak: {error}")
    except (KeyboardInterrupt, ExternalShutdownException):
        sys.exit(130)
    finally:
        rclpy.try_shutdown()
    for share in ("p50", "p99"):
        stages = {name: report["stages"].get(f"{name} {share}", 0.0) for name in _OVERHEAD}
        parts = ", ".join(f"{name} {spent:.1f}" for name, spent in stages.items())
        sys.stdout.write(f"{share} beside the network: {sum(stages.values()):.1f} ms ({parts})\n")
    problems = report["verdict"]["problems"]
    sys.stdout.write("\n".join(problems or ["memory and latency stayed flat"]) + "\n")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
