"""Options of commands that compare depth with the truth in a bag."""

from dataclasses import dataclass

from depthformer_core.bags.topics import Truth
from depthformer_core.replay.frame_plan import FrameOptions, Rectify


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


@dataclass(frozen=True)
class TruthOptions:
    """The truth of the bag, and how images and truth come together."""

    truth: Truth = "auto"
    """Truth to compare with; auto takes depth images where there are any, else a LiDAR."""
    tolerance: float = 0.05
    """Largest difference between the stamps of an image and of its truth or prediction, seconds."""
    keep_hidden: bool = False
    """Keep LiDAR points that lie behind what the camera sees."""
    accumulate: int = 0
    """Scans of the LiDAR to add before the one of an image's time, and as many after it, moved
    by /tf; up to 20."""
    fixed_frame: str = "odom"
    """Frame on /tf in which the world stands still."""
    rectify: Rectify = "auto"
    """Whether images are rectified first; auto does unless the topic's name says
    that they are, as image_rect does."""
    max_depth: float = 80.0
    """Truth counts up to this depth, metres."""

    def of_frames(self, topics: TopicOptions) -> FrameOptions:
        """Return the choice of frames from these topics."""
        return FrameOptions(
            image=topics.image_topic,
            camera_info=topics.camera_info_topic,
            depth=topics.depth_topic,
            cloud=topics.cloud_topic,
            truth=self.truth,
            tolerance=self.tolerance,
            rectify=self.rectify,
            keep_hidden=self.keep_hidden,
            accumulate=self.accumulate,
            fixed_frame=self.fixed_frame,
        )
