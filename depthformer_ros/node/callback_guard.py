"""The edge between our code and ROS, which an error must not cross."""

import traceback
from types import TracebackType
from typing import Any

LOG_PERIOD = 5.0
"""Seconds between two log lines about what happens with every message."""


class CallbackGuard:
    """Keeps an error inside a callback from ending the node: logs it and goes on.

    Args:
        node: The `rclpy.node.Node` that logs.
        what: What may fail, for the log.
        often: Whether it happens with every message, so that its log must be throttled.

    Attributes:
        failure: The error in one line, empty while there was none.
        kind: Its class, None while there was none.
    """

    def __init__(self, node: Any, what: str, *, often: bool = False) -> None:
        self._node = node
        self._what = what
        self._often = often
        self.failure = ""
        self.kind: type[Exception] | None = None

    def __enter__(self) -> "CallbackGuard":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        self.kind = type(error)
        line = str(error).strip().partition("\n")[0]
        # Our own errors explain themselves.
        explained = isinstance(error, ValueError) and line
        self.failure = line if explained else f"{self.kind.__name__}: {line}"
        # Once ROS is shut down, publishing fails and nobody listens.
        if self._node.context.ok():
            logger = self._node.get_logger()
            text = f"{self._what} failed: {self.failure}"
            # rclpy throttles each line of code by itself.
            if self._often:
                logger.error(text, throttle_duration_sec=LOG_PERIOD)
            else:
                logger.error(text)
            logger.debug("".join(traceback.format_exception(kind, error, trace)))
        return True
