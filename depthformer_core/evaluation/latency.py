"""How long the answers to a stream of images took."""

import math
from dataclasses import dataclass

import numpy as np

from depthformer_core.errors import DepthFormerError


@dataclass(frozen=True)
class Latency:
    """Times of a stream of images.

    Attributes:
        sent: When each image was sent, seconds from the start of the stream.
        seconds: How long the answer to each took; None where there was none.
        late: How many answers came too late to be of use.
    """

    sent: list[float]
    seconds: list[float | None]
    late: int

    def __post_init__(self) -> None:
        """Reject what is no stream."""
        if len(self.sent) != len(self.seconds):
            raise DepthFormerError(
                "sent and seconds must have one value for each image, "
                f"got {len(self.sent)} and {len(self.seconds)}"
            )
        wrong = [time for time in (*self.sent, *self.answers) if not 0 <= time < math.inf]
        if wrong:
            raise DepthFormerError(f"times must be finite and not negative, got {wrong[0]}")
        if not 0 <= self.late <= len(self.answers):
            raise DepthFormerError(
                f"late must be 0 to the {len(self.answers)} images answered, got {self.late}"
            )

    @property
    def answers(self) -> list[float]:
        """How long each answer took, seconds."""
        return [time for time in self.seconds if time is not None]

    @property
    def dropped(self) -> int:
        """How many images have no answer."""
        return len(self.seconds) - len(self.answers)

    def percentile(self, share: float) -> float:
        """Time within which that share, in percent, of the answers came; NaN without answers."""
        answers = self.answers
        return float(np.percentile(answers, share)) if answers else math.nan

    def summary(self) -> dict[str, float]:
        """Counts, and percentiles in seconds, by name."""
        return {
            "sent": len(self.sent),
            "answered": len(self.answers),
            "dropped": self.dropped,
            "late": self.late,
            **{f"p{share}": self.percentile(share) for share in (50, 95, 99)},
            "max": self.percentile(100),
        }
