"""The executable of the depth node: it handles signals before imports that take seconds."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from depthformer_core.signals import Signals


def main(args: Sequence[str] | None = None, *, load: Callable[[Any], Any] | None = None) -> None:
    """Run the node until a signal ends it.

    Args:
        args: ROS arguments; those of the process by default.
        load: As of `DepthNode`; loads the network of the parameters by default.
    """
    # The node takes over the signals for good: the process ends within this context.
    with Signals(code=0):
        from depthformer_ros.node.node import run

        code = run(args, **({} if load is None else {"load": load}))
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        # A frame in progress, a lost device or a thread of a library may keep Python from ending,
        # or crash it at exit.
        os._exit(code)


if __name__ == "__main__":
    main()
