"""The topics of a camera, as image_transport's users expect them."""

from rclpy.node import Node

from depthformer_core.bags.message_types import COMPRESSED, calibration_beside


def image_topic(node: Node, *, compressed: bool) -> str:
    """Return the resolved topic of the images.

    JPEG and PNG are on the topic of `image` with `/compressed` appended, unless
    `image/compressed` is remapped itself.

    Args:
        node: The node, with its namespace and remappings.
        compressed: Whether images come as JPEG or PNG.
    """
    base = str(node.resolve_topic_name("image"))
    if not compressed:
        return base
    if _is_remapped(node, "image/compressed"):
        return str(node.resolve_topic_name("image/compressed"))
    return base if base.endswith(COMPRESSED) else base + COMPRESSED


def camera_info_topic(node: Node, images: str) -> str:
    """Return the resolved topic of the calibration: beside the images, unless remapped itself.

    Args:
        node: As of `image_topic`.
        images: Resolved topic of the images.
    """
    if _is_remapped(node, "camera_info"):
        return str(node.resolve_topic_name("camera_info"))
    return calibration_beside(images)


def _is_remapped(node: Node, name: str) -> bool:
    return bool(node.resolve_topic_name(name) != node.resolve_topic_name(name, only_expand=True))
