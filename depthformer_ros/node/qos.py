"""Quality of service: subscriptions request what publishers offer, unless parameters fix it."""

from collections.abc import Sequence

from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.topic_endpoint_info import TopicEndpointInfo


def matching_qos(
    publishers: Sequence[TopicEndpointInfo], *, depth: int = 1, latched: bool = True
) -> QoSProfile:
    """Return the strictest QoS that all publishers of a topic offer, as `ros2 topic echo` does.

    Args:
        publishers: The publishers.
        depth: Length of the queue.
        latched: Whether to request the last messages from before the subscription too.

    Returns:
        Reliable where all are, transient local where all are; else best effort and volatile, which
        fit any publisher.
    """
    offered = [info.qos_profile for info in publishers]
    reliable = _all(offered, "reliability", ReliabilityPolicy.RELIABLE)
    kept = latched and _all(offered, "durability", DurabilityPolicy.TRANSIENT_LOCAL)
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if kept else DurabilityPolicy.VOLATILE,
    )


def _all(offered: Sequence[QoSProfile], name: str, value: object) -> bool:
    return bool(offered) and all(getattr(profile, name) == value for profile in offered)


def subscription_overrides(node: Node, topic: str) -> QoSOverridingOptions | None:
    """Return the policies that parameters `qos_overrides.<topic>.subscription.<policy>` fix.

    The others follow the publishers.

    Args:
        node: The node.
        topic: The resolved topic.
    """
    prefix = f"qos_overrides.{topic}.subscription."
    # rclpy has no public access to initial values that are not declared yet.
    overrides = getattr(node, "_parameter_overrides", {})
    kinds = [kind for kind in QoSPolicyKind if prefix + kind.name.lower() in overrides]
    return QoSOverridingOptions(kinds) if kinds else None


def publisher_overrides() -> QoSOverridingOptions:
    """Return the policies of a publisher that parameters may fix: history, depth, reliability."""
    return QoSOverridingOptions.with_default_policies()
