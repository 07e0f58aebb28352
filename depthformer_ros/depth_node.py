"""Runs the depth node: takes the signals first, since what it needs takes seconds to import."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from depthformer_core.signals import Signals


def main(args: Sequence[str] | None = None, *, load: Callable[[Any], Any] | None = None) -> None:
    """Run the node until it is told to end.

    Args:
        args: Of ROS; those of the process without.
        load: As of `DepthNode`; the network that parameters ask for without.
    """
    # The node takes the signals over, and for good: within this context the process ends.
    with Signals(code=0):
        from depthformer_ros.node.node import run

        code = run(args, **({} if load is None else {"load": load}))
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        # A frame that is still computed, a lost device or a thread of a library would keep Python
        # from ending, or break its way out.
        os._exit(code)


if __name__ == "__main__":
    main()
