"""Runs the depth node: takes the signals first, since what it needs takes seconds to import."""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any


def _leave(number: int, frame: FrameType | None) -> None:
    """End at once: there is nothing yet to let go of, and no error can get lost in an import."""
    del number, frame
    os._exit(0)


def main(args: Sequence[str] | None = None, *, load: Callable[[Any], Any] | None = None) -> None:
    """Run the node until it is told to end.

    Args:
        args: Of ROS; those of the process without.
        load: As of `depthformer_ros.node.DepthNode`; the network that parameters ask for without.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    from depthformer_ros.node import run

    code = run(args, **({} if load is None else {"load": load}))
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    # A frame that is still computed, a lost device or a thread of a library would keep Python from
    # ending, or break its way out.
    os._exit(code)


if __name__ == "__main__":
    main()
