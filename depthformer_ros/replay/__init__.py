"""Play a bag into the ROS graph and collect the predictions of the depth node.

The entry point: it handles signals before the slow imports.
"""

from collections.abc import Sequence

from depthformer_core.signals import Signals

__all__ = ["main"]


def main(args: Sequence[str] | None = None) -> None:
    """Play a bag with the options of the command line; exit code 1 on errors, 0 if interrupted.

    Args:
        args: Arguments; those of the process by default.
    """
    # An interruption is no failure: launch sends one to a player that still plays when it ends.
    with Signals(code=0) as signals:
        from depthformer_ros.replay.command import run

        signals.defer()
        run(args, signals)
