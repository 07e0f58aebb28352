"""Counts of a pass over a bag, and notes on them."""

from collections import Counter
from dataclasses import dataclass, field

from depthformer_core.geometry.camera import MOST_UNSEEN

# Reasons that hold numbers of the message can be many; a reader needs but a few.
_MOST_REASONS = 10
_OTHER = "other reasons"


class Reasons(Counter[str]):
    """Counts by reason; after ten reasons, others are counted as one."""

    def add(self, reason: str) -> None:
        """Count a reason."""
        self[reason if reason in self or len(self) < _MOST_REASONS else _OTHER] += 1


@dataclass
class Tally:
    """Counts of one pass over a bag.

    Attributes:
        images: Images that were usable.
        rejected: Images that were not, by reason.
        no_camera: Usable images without a camera, by reason.
        no_truth: Usable images without truth, though the bag has a topic of it, by reason.
        damaged_truth: Damaged messages with truth.
        left_out: Scans that were not added to the others of an image, by reason.
        bad_transforms: Transforms on `/tf` that were damaged or made no sense, by reason.
        unstamped: Messages without a stamp in their header.
        most_black: Largest share of black pixels after rectification.
    """

    images: int = 0
    rejected: Reasons = field(default_factory=Reasons)
    no_camera: Reasons = field(default_factory=Reasons)
    no_truth: Reasons = field(default_factory=Reasons)
    damaged_truth: int = 0
    left_out: Reasons = field(default_factory=Reasons)
    bad_transforms: Reasons = field(default_factory=Reasons)
    unstamped: int = 0
    most_black: float = 0.0

    def notes(self) -> list[str]:
        """Return sentences for readers of the results."""
        total = self.images + self.rejected.total()
        sentences = [
            f"{count} of {total} images were unusable: {reason}."
            for reason, count in self.rejected.items()
        ]
        sentences += [
            f"{count} of {self.images} images have no camera: {reason}."
            for reason, count in self.no_camera.items()
        ]
        sentences += [
            f"{count} of {self.images} images have no truth: {reason}."
            for reason, count in self.no_truth.items()
        ]
        if self.damaged_truth:
            sentences.append(f"{self.damaged_truth} messages with truth were damaged.")
        sentences += [
            f"{count} times a scan was not added to the others of an image: {reason}."
            for reason, count in self.left_out.items()
        ]
        sentences += [
            f"{count} transforms on /tf were skipped: {reason}."
            for reason, count in self.bad_transforms.items()
        ]
        if self.most_black > MOST_UNSEEN:
            sentences.append(
                f"Rectification makes {self.most_black:.0%} of the images black: if they are "
                "rectified already, use --rectify never."
            )
        if self.unstamped:
            sentences.append(
                f"{self.unstamped} messages have no stamp in their header: "
                "the time of their recording was taken."
            )
        return sentences
