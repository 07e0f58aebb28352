"""Run a depth node for an hour and check that its memory and latency stay flat.

Generated frames are played at a steady rate through a node in a process of its own. Exit code 1
means that the node grew, slowed down, fell silent or ended.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from depthformer_core.files import replacing
from depthformer_ros.load.probe import Sample, probing
from depthformer_ros.load.probe_command import exit_with, positive, probe_parser
from depthformer_ros.load.soak_report import judge, plot


def main(args: Sequence[str] | None = None) -> None:
    """Run with the options of the command line; exit code 1 on a problem, 130 if interrupted."""
    parser = probe_parser("soak", description=__doc__, rate=10.0)
    parser.add_argument("--output", type=Path, default=Path("soak"), help="folder for the results")
    parser.add_argument("--minutes", type=positive, default=60.0, help="how long")
    parser.add_argument("--every", type=positive, default=10.0, help="seconds between samples")
    options = parser.parse_args(args)
    if options.every > 60 * options.minutes:
        parser.error(f"--every is longer than the run: {options.every} s")
    exit_with("soak", lambda: _soak(options))


def _soak(options: argparse.Namespace) -> list[str]:
    """Run, write `soak.json` and `soak.png`, and return the problems."""
    samples: list[Sample] = []
    with probing(options.parameters, width=options.width) as probe:
        seconds = 60 * options.minutes
        for sample in probe.run(seconds=seconds, rate=options.rate, every=options.every):
            samples.append(sample)
            p99 = "no prediction" if sample.p99 is None else f"p99 {1e3 * sample.p99:.0f} ms"
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
        "samples": [sample.to_json() for sample in samples],
    }
    with replacing(options.output / "soak.json") as temporary:
        temporary.write_text(json.dumps(report, indent=1) + "\n")
    with replacing(options.output / "soak.png") as temporary:
        plot(samples, temporary)
    if not verdict.problems:
        sys.stdout.write("memory and latency stayed flat\n")
    return verdict.problems


if __name__ == "__main__":
    main()
