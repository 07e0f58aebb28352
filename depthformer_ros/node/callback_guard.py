"""A guard around callbacks, which no error may leave."""

import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any

from rclpy.node import Node
from rclpy.service import Service

LOG_PERIOD = 5.0
"""Seconds between two log lines about something that every message may cause."""

HINT_PERIOD = 60.0
"""Seconds between two log lines of advice."""


class CallbackGuard:
    """Logs an error inside a callback, so that it does not end the node.

    Args:
        node: The node that logs.
        what: Name of what may fail, for the log.
        often: Whether it runs for every message, so that its log is throttled.

    Attributes:
        failure: The error in one line; empty without one.
        kind: Class of the error; None without one.
    """

    def __init__(self, node: Node, what: str, *, often: bool = False) -> None:
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
        # Our own errors need no class name.
        explained = isinstance(error, ValueError) and line
        self.failure = line if explained else f"{self.kind.__name__}: {line}"
        # After a shutdown publishing fails, and nothing reads the log.
        if self._node.context.ok():
            logger = self._node.get_logger()
            text = f"{self._what} failed: {self.failure}"
            # rclpy throttles by line of code.
            if self._often:
                logger.error(text, throttle_duration_sec=LOG_PERIOD)
            else:
                logger.error(text)
            logger.debug("".join(traceback.format_exception(kind, error, trace)))
        return True


def guard_services(node: Node) -> None:
    """Guard all services of a node, so that an error still sends a response.

    rclpy lets errors of its own services through, such as those of an invalid transition. It makes
    the services of a lifecycle itself, not by `create_service`: only their callback can be wrapped.

    Args:
        node: The node, with all its services.
    """
    for service in node.services:
        service.callback = _guarded(node, service)


def _guarded(node: Node, service: Service) -> Callable[[Any, Any], Any]:
    callback, what = service.callback, service.srv_type.__name__

    def call(request: Any, response: Any) -> Any:
        with CallbackGuard(node, what):
            return callback(request, response)
        return response

    return call
