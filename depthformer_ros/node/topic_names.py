"""Names of topics after remapping."""

from rclpy.node import Node


def is_remapped(node: Node, name: str) -> bool:
    """Return whether a remapping names a topic."""
    return bool(node.resolve_topic_name(name) != node.resolve_topic_name(name, only_expand=True))


def transport_topic(node: Node, base: str, transport: str) -> str:
    """Return the resolved topic of images in another transport, as image_transport names it.

    It follows the remapping of the images, unless it is remapped itself.

    Args:
        node: The node, with its namespace and remappings.
        base: Topic of the raw images.
        transport: Suffix of the transport, without slash.
    """
    name = f"{base}/{transport}"
    if is_remapped(node, name):
        return str(node.resolve_topic_name(name))
    return f"{node.resolve_topic_name(base)}/{transport}"
