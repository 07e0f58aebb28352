"""Quality of service: what a publisher offers is what is asked for, unless the user says."""

from collections.abc import Sequence
from typing import Any

from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.qos_overriding_options import QoSOverridingOptions


def matching_qos(publishers: Sequence[Any], *, depth: int = 1, latched: bool = True) -> QoSProfile:
    """Ask for the most that all publishers of a topic offer, as `ros2 topic echo` does.

    Args:
        publishers: Their `rclpy.topic_endpoint_info.TopicEndpointInfo`.
        depth: Messages that are kept until they are read.
        latched: Whether to ask for the last messages from before the subscription too.

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


def _all(offered: Sequence[QoSProfile], name: str, value: Any) -> bool:
    return bool(offered) and all(getattr(profile, name) == value for profile in offered)


def subscription_overrides(node: Any, topic: str) -> QoSOverridingOptions | None:
    """Policies that the user fixed by parameters `qos_overrides.<topic>.subscription.<policy>`.

    Those that he did not fix go on following the publishers.

    Args:
        node: The `rclpy.node.Node`.
        topic: The resolved topic.
    """
    prefix = f"qos_overrides.{topic}.subscription."
    # rclpy tells of parameters that are given and not declared yet in no other way.
    given = getattr(node, "_parameter_overrides", {})
    kinds = [kind for kind in QoSPolicyKind if prefix + kind.name.lower() in given]
    return QoSOverridingOptions(kinds) if kinds else None


def publisher_overrides() -> QoSOverridingOptions:
    """Policies of a publisher that the user may fix: history, depth and reliability."""
    return QoSOverridingOptions.with_default_policies()
