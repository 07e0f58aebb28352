"""Asks a depth node about itself, for `depthformer doctor`."""

import time
from typing import Any

from lifecycle_msgs.srv import GetState
from rcl_interfaces.srv import GetParameters

# Seconds for both ends of a service to know each other, once one knows the other; and for its
# answer.
_SETTLE = 0.5
_ANSWER = 1.0


class NodeQuestion:
    """Asks a lifecycle node for its state and whether it rectifies, again where no answer comes.

    Args:
        node: The `rclpy.node.Node` that asks.
        name: Full name of the other.

    Attributes:
        state: Label of its state, empty before it answers.
        rectify: Its parameter input.rectify, empty before it answers.
    """

    def __init__(self, node: Any, name: str) -> None:
        self.state = ""
        self.rectify = ""
        self._node = node
        self._states = node.create_client(GetState, f"{name}/get_state")
        self._parameters = node.create_client(GetParameters, f"{name}/get_parameters")
        self._next: dict[Any, float] = {}

    def pursue(self) -> None:
        """Ask what has not been answered, if it is time to."""
        if not self.state and self._is_time(self._states):
            self._states.call_async(GetState.Request()).add_done_callback(self._on_state)
        if not self.rectify and self._is_time(self._parameters):
            request = GetParameters.Request(names=["input.rectify"])
            self._parameters.call_async(request).add_done_callback(self._on_parameters)

    def close(self) -> None:
        """Ask no more."""
        for client in (self._states, self._parameters):
            self._node.destroy_client(client)

    def _is_time(self, client: Any) -> bool:
        now = time.monotonic()
        if client not in self._next:
            if client.service_is_ready():
                self._next[client] = now + _SETTLE
            return False
        if now < self._next[client]:
            return False
        self._next[client] = now + _ANSWER
        return True

    def _on_state(self, future: Any) -> None:
        if future.result() is not None:
            self.state = future.result().current_state.label

    def _on_parameters(self, future: Any) -> None:
        if future.result() is not None:
            self.rectify = "".join(value.string_value for value in future.result().values)
