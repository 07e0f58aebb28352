"""Queries of a depth node's state and parameters, for `depthformer doctor`."""

import time

from lifecycle_msgs.srv import GetState
from rcl_interfaces.srv import GetParameters
from rclpy.client import Client
from rclpy.node import Node
from rclpy.task import Future

# Seconds for both ends of a service to discover each other, once one has; and for its response.
_SETTLE = 0.5
_RESPONSE = 1.0


class NodeQuery:
    """Queries the state of a depth node and its `input.rectify`; repeats without a response.

    Args:
        node: Our own node.
        name: Full name of the depth node.

    Attributes:
        state: Label of its state, empty before its response.
        rectify: Its parameter input.rectify, empty before its response.
    """

    def __init__(self, node: Node, name: str) -> None:
        self.state = ""
        self.rectify = ""
        self._node = node
        self._states = node.create_client(GetState, f"{name}/get_state")
        self._parameters = node.create_client(GetParameters, f"{name}/get_parameters")
        self._next: dict[Client, float] = {}

    def poll(self) -> None:
        """Send the requests without response, if they are due."""
        if not self.state and self._is_due(self._states):
            self._states.call_async(GetState.Request()).add_done_callback(self._on_state)
        if not self.rectify and self._is_due(self._parameters):
            request = GetParameters.Request(names=["input.rectify"])
            self._parameters.call_async(request).add_done_callback(self._on_parameters)

    def close(self) -> None:
        """Destroy the clients."""
        for client in (self._states, self._parameters):
            self._node.destroy_client(client)

    def _is_due(self, client: Client) -> bool:
        now = time.monotonic()
        if client not in self._next:
            if client.service_is_ready():
                self._next[client] = now + _SETTLE
            return False
        if now < self._next[client]:
            return False
        self._next[client] = now + _RESPONSE
        return True

    def _on_state(self, future: Future) -> None:
        if future.result() is not None:
            self.state = future.result().current_state.label

    def _on_parameters(self, future: Future) -> None:
        if future.result() is not None:
            self.rectify = "".join(value.string_value for value in future.result().values)
