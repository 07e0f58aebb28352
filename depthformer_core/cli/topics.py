"""Options that choose topics of a bag."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TopicOptions:
    """Topics of the bag, where it has several of a kind."""

    image_topic: str | None = None
    """Images, raw or compressed."""
    camera_info_topic: str | None = None
    """Their calibration."""
    depth_topic: str | None = None
    """Depth images to compare with."""
    cloud_topic: str | None = None
    """Point clouds of a LiDAR to compare with."""
