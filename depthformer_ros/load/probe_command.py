"""Command line and exit of the commands that measure a depth node."""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

import rclpy
from rclpy.executors import ExternalShutdownException

from depthformer_ros.load.probe import ProbeError

_NARROWEST = 32  # columns of the narrowest image that can be generated


def probe_parser(command: str, *, description: str | None, rate: float) -> argparse.ArgumentParser:
    """Make a parser with the options for the frames and the parameters of the node.

    Args:
        command: Name of the module.
        description: Its description.
        rate: Default of the frames a second.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m depthformer_ros.load.{command}", description=description
    )
    parser.add_argument("--rate", type=positive, default=rate, help="frames a second")
    parser.add_argument("--width", type=_columns, default=1242, help="columns of the frames")
    parser.add_argument("parameters", nargs="*", help="of the node, such as device:=cpu")
    return parser


def positive(text: str) -> float:
    """Read a positive number.

    Raises:
        argparse.ArgumentTypeError: It is not positive.
        DepthFormerError: It is no number.
    """
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"must be positive, got {text}")
    return value


def _columns(text: str) -> int:
    value = int(text)
    if value < _NARROWEST:
        raise argparse.ArgumentTypeError(f"must be at least {_NARROWEST}, got {value}")
    return value


def exit_with(command: str, measure: Callable[[], Sequence[str]]) -> NoReturn:
    """End the process with the result of a measurement.

    Args:
        command: Name of the module, for messages.
        measure: Measures a node and returns its problems.

    Raises:
        SystemExit: Always: 0 without problems, 130 if interrupted, else 1.
    """
    try:
        problems = measure()
    except ProbeError as error:
        sys.exit(f"{command}: {error}")
    except (KeyboardInterrupt, ExternalShutdownException):
        sys.exit(130)
    finally:
        rclpy.try_shutdown()
    sys.stdout.writelines(f"{problem}\n" for problem in problems)
    sys.exit(bool(problems))
