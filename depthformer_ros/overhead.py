"""Measure what a depth node costs beside its network.

Generated frames are played through a node whose network answers at once, in a process of its own.
Counted is the time for which any thread of that process is on a processor: the message read,
the image resized and normalised, depth, camera_info and cloud computed and handed to the
middleware, and whatever else a node does. The median of windows of two seconds is printed, and
below it how long the node says its stages took.
"""

import argparse
import itertools
import sys
from collections.abc import Sequence

import numpy as np

from depthformer_ros.probe import ProbeError, probing
from depthformer_ros.probe_command import exit_with, positive, probe_parser

_WINDOW = 2.0  # seconds
_OF_NETWORK = ("checkpoint", "precision", "compile")
_STAGES = ("receive", "convert", "rectify", "fit", "publish")


def main(args: Sequence[str] | None = None) -> None:
    """Run as the command line says; exit code 1 where something is wrong, 130 if interrupted."""
    parser = probe_parser("overhead", description=__doc__, rate=10.0)
    parser.add_argument("--seconds", type=positive, default=30.0, help="how long")
    options = parser.parse_args(args)
    if options.seconds < 3 * _WINDOW:
        parser.error(f"--seconds must be at least {3 * _WINDOW}, got {options.seconds}")
    for parameter in options.parameters:
        if parameter.partition(":=")[0] in _OF_NETWORK:
            parser.error(f"there is no network here, so nothing follows from {parameter}")
    exit_with("overhead", lambda: _measure(options))


def _measure(options: argparse.Namespace) -> list[str]:
    node = "depthformer_ros.node_without_network"
    with probing(options.parameters, width=options.width, node=node) as probe:
        samples = list(probe.run(seconds=options.seconds, rate=options.rate, every=_WINDOW))
    # The first window is not quiet.
    pairs = list(itertools.pairwise(samples))[1:]
    costs = [
        (after.processor - before.processor) / (after.answered - before.answered)
        for before, after in pairs
        if after.answered > before.answered
    ]
    if not costs:
        raise ProbeError("the node answered nothing")
    sent, answered = samples[-1].sent, samples[-1].answered
    sys.stdout.write(
        f"{1e3 * float(np.median(costs)):.1f} ms of one core a frame at the median of "
        f"{len(costs)} windows ({1e3 * min(costs):.1f} to {1e3 * max(costs):.1f}), "
        f"{answered} of {sent} frames answered\n"
    )
    spent = {name: probe.stages.get(f"{name} p50", 0.0) for name in _STAGES}
    parts = ", ".join(f"{name} {time:.1f}" for name, time in spent.items())
    sys.stdout.write(f"{sum(spent.values()):.1f} ms for its stages at the median: {parts}\n")
    return []


if __name__ == "__main__":
    main()
