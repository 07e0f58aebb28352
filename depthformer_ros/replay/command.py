"""The command line of the player."""

import argparse
import json
import math
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from depthformer_core.bags import BagError, BagReader, BagWriter
from depthformer_core.bags.errors import ReplayError
from depthformer_core.data.kitti import IMAGE_TOPIC
from depthformer_core.files import replacing
from depthformer_core.paths import user_path
from depthformer_core.signals import Signals
from depthformer_ros.messages.transport import large_messages
from depthformer_ros.replay.player import Player
from depthformer_ros.replay.predictions import ReplayReport, summary_text

# Longest wait for the receiving thread, which ends after its current message, seconds.
_JOIN = 5.0


class _InterruptedError(Exception):
    """A signal came, or ROS was shut down."""


def run(args: Sequence[str] | None, signals: Signals) -> None:
    """Play a bag with the options of the command line.

    An interrupted run writes the predictions so far, if any image was sent.

    Args:
        args: Arguments; those of the process by default.
        signals: Records signals.

    Raises:
        SystemExit: The arguments or the bag are invalid, or there is no node.
    """
    arguments = list(sys.argv[1:] if args is None else args)
    options = _options(rclpy.utilities.remove_ros_args(arguments))
    try:
        with large_messages():
            rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
            node = rclpy.create_node("replay")
        report = _play(node, options, _checker(node, signals))
    except (BagError, ReplayError, OSError) as error:
        sys.exit(f"replay: {error}")
    except (_InterruptedError, ExternalShutdownException):
        sys.stdout.write("interrupted\n")
        return
    finally:
        rclpy.try_shutdown()
    interrupted = "interrupted: " if report["interrupted"] else ""
    sys.stdout.write(f"{interrupted}{summary_text(report)}\n")


def _checker(node: Node, signals: Signals) -> Callable[[], None]:
    def check() -> None:
        if signals.came or not node.context.ok():
            raise _InterruptedError

    return check


def _play(node: Node, options: argparse.Namespace, check: Callable[[], None]) -> ReplayReport:
    """Play a bag through a node, and write the requested results."""
    output: Path | None = options.output
    output_bag: AbstractContextManager[BagWriter | None] = nullcontext()
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        output_bag = BagWriter(output / "answers")
    interrupted = False
    with BagReader(options.bag) as bag, output_bag as recorder:
        player = Player(
            bag,
            node=node,
            image_topic=options.image_topic,
            check=check,
            namespace=options.namespace,
            clock=options.clock,
            recorder=recorder,
        )
        with _spinning(node):
            player.wait_for_node(options.timeout)
            try:
                player.play(
                    mode=options.mode,
                    rate=options.rate,
                    timeout=options.timeout,
                    start=options.start,
                    loop=options.loop,
                )
            except _InterruptedError:
                interrupted = True
        report = player.report(mode=options.mode, rate=options.rate, interrupted=interrupted)
        if interrupted and not report["sent"]:
            raise _InterruptedError
        for note in bag.notes:
            node.get_logger().warning(note)
    if output is not None:
        with replacing(output / "replay.json") as temporary:
            temporary.write_text(json.dumps(report, indent=1) + "\n")
    return report


@contextmanager
def _spinning(node: Node) -> Iterator[None]:
    """Handle a node's messages in a thread of their own."""
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)

    def spin() -> None:
        try:
            executor.spin()
        except ExternalShutdownException:
            return

    thread = threading.Thread(target=spin, name="receive", daemon=True)
    thread.start()
    try:
        yield
    finally:
        executor.shutdown(timeout_sec=_JOIN)
        thread.join(_JOIN)


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="replay",
        description="Play a bag into the ROS graph and collect the predictions of the node",
    )
    parser.add_argument("bag", type=user_path, help="ROS 2 bag folder or file, or ROS 1 bag")
    parser.add_argument(
        "--output", type=user_path, help="folder for replay.json and the bag of predictions"
    )
    parser.add_argument(
        "--mode",
        choices=("realtime", "lockstep"),
        default="realtime",
        help="keep the bag's pace, or wait for the prediction of each image",
    )
    parser.add_argument("--rate", type=float, default=1.0, help="factor on the bag's pace")
    parser.add_argument("--start", type=float, default=0.0, help="seconds of the bag to skip")
    parser.add_argument(
        "--loop",
        action="store_true",
        help="play again and again until interrupted; stamps repeat, and /clock jumps back",
    )
    parser.add_argument("--clock", action="store_true", help="publish the bag's time on /clock")
    parser.add_argument("--namespace", default="", help="namespace of the depth node")
    parser.add_argument("--image-topic", default=IMAGE_TOPIC, help="topic of the frames")
    parser.add_argument(
        "--timeout",
        type=float,
        default=30.0,
        help="seconds to wait for the node, for a prediction in lockstep, and at the end",
    )
    options = parser.parse_args(arguments)
    for name in ("rate", "timeout"):
        value = getattr(options, name)
        if not 0 < value < math.inf:
            parser.error(f"--{name} must be positive, got {value}")
    if not 0 <= options.start < math.inf:
        parser.error(f"--start must not be negative, got {options.start}")
    if options.loop and options.mode == "lockstep":
        parser.error("--loop is for the bag's pace: lockstep waits for each image once")
    if options.loop and options.output is not None:
        parser.error("--output takes the predictions of one pass: omit --loop")
    return options
