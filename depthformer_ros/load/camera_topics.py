"""The topics of a camera, as image_transport's users expect them."""

from typing import Any

from depthformer_core.bags.message_types import COMPRESSED, calibration_beside


def image_topic(node: Any, *, compressed: bool) -> str:
    """Topic of the images, resolved.

    JPEG and PNG come beside the topic `image`, with `/compressed` behind its name, unless
    `image/compressed` is remapped itself.

    Args:
        node: The `rclpy.node.Node`, with its namespace and remappings.
        compressed: Whether images come as JPEG or PNG.
    """
    base = str(node.resolve_topic_name("image"))
    if not compressed:
        return base
    if _is_remapped(node, "image/compressed"):
        return str(node.resolve_topic_name("image/compressed"))
    return base if base.endswith(COMPRESSED) else base + COMPRESSED


def camera_info_topic(node: Any, images: str) -> str:
    """Topic of the calibration, resolved: beside that of the images, unless it is remapped itself.

    Args:
        node: As of `image_topic`.
        images: Resolved topic of the images.
    """
    if _is_remapped(node, "camera_info"):
        return str(node.resolve_topic_name("camera_info"))
    return calibration_beside(images)


def _is_remapped(node: Any, name: str) -> bool:
    return bool(node.resolve_topic_name(name) != node.resolve_topic_name(name, only_expand=True))
