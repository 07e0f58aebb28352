"""Measure the processor time of a depth node without its network.

Generated frames are played through a node with a trivial network, in a process of its own. Its
processor time covers all of the node: it reads the message, resizes and normalises the image,
computes depth, camera_info and cloud, and passes them to the middleware. In turns with it, another
process publishes a depth image and a cloud of that size and does nothing else. The output has the
medians of windows of two seconds, their ratio, and the times of the node's stages.
"""

import argparse
import sys
from collections.abc import Sequence

import numpy as np

from depthformer_ros.load.probe import ProbeError, probing
from depthformer_ros.load.probe_command import exit_with, positive, probe_parser
from depthformer_ros.load.publisher_alone import publishing

_WINDOW = 2.0  # seconds
_OF_NETWORK = ("checkpoint", "precision", "compile")
_STAGES = ("receive", "convert", "rectify", "fit", "publish")


def main(args: Sequence[str] | None = None) -> None:
    """Run with the options of the command line; exit code 1 on a problem, 130 if interrupted."""
    parser = probe_parser("overhead", description=__doc__, rate=10.0)
    parser.add_argument("--seconds", type=positive, default=60.0, help="how long")
    options = parser.parse_args(args)
    if options.seconds < 3 * _WINDOW:
        parser.error(f"--seconds must be at least {3 * _WINDOW}, got {options.seconds}")
    for parameter in options.parameters:
        if parameter.partition(":=")[0] in _OF_NETWORK:
            parser.error(f"there is no network here, so nothing follows from {parameter}")
    exit_with("overhead", lambda: _measure(options))


def _measure(options: argparse.Namespace) -> list[str]:
    node = "depthformer_ros.load.node_without_network"
    costs: list[float] = []
    alone: list[float] = []
    sent = predicted = 0
    with (
        probing(options.parameters, width=options.width, node=node) as probe,
        publishing(probe, rate=options.rate) as publisher,
    ):
        # The first window is not quiet.
        for turn in range(1 + max(1, round(options.seconds / (2 * _WINDOW)))):
            window = probe.window(seconds=_WINDOW, rate=options.rate)
            cost = publisher.window(seconds=_WINDOW)
            if turn and window.predicted:
                costs.append(window.processor / window.predicted)
                alone.append(cost)
                sent, predicted = sent + window.sent, predicted + window.predicted
        spent = {name: probe.stages.get(f"{name} p50", 0.0) for name in _STAGES}
    if not costs:
        raise ProbeError("the node predicted nothing")
    ratios = np.divide(costs, alone)
    sys.stdout.write(
        f"{1e3 * float(np.median(costs)):.1f} ms of one core a frame at the median of "
        f"{len(costs)} windows ({1e3 * min(costs):.1f} to {1e3 * max(costs):.1f}), "
        f"{predicted} of {sent} frames predicted\n"
        f"{float(np.median(ratios)):.2f} times as much as publishing the two messages alone: "
        f"{1e3 * float(np.median(alone)):.1f} ms\n"
    )
    parts = ", ".join(f"{name} {time:.1f}" for name, time in spent.items())
    sys.stdout.write(f"{sum(spent.values()):.1f} ms for its stages at the median: {parts}\n")
    return []


if __name__ == "__main__":
    main()
