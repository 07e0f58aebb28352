"""Play a bag into the ROS graph and collect what the depth node answers.

The entry point: signals are taken before anything is imported that takes its time.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from depthformer_core.lazy import lazy_imports
from depthformer_core.signals import Signals

if TYPE_CHECKING:
    from depthformer_ros.replay.stamps import header_stamp

__all__ = ["main", "header_stamp"]

__getattr__, __dir__ = lazy_imports(__name__, {"header_stamp": "stamps"})


def main(args: Sequence[str] | None = None) -> None:
    """Play a bag as the command line says; exit code 1 on errors, 0 when interrupted.

    Args:
        args: Words of the command line; None for the process's own.
    """
    # An interruption is no failure: launch sends one to whatever still plays when it ends.
    with Signals(code=0) as signals:
        from depthformer_ros.replay.command import run

        signals.defer()
        run(args, signals)
