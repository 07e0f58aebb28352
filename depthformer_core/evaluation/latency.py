"""Times of the predictions for a stream of images."""

import math
from dataclasses import dataclass

import numpy as np

from depthformer_core.errors import DepthFormerError


@dataclass(frozen=True)
class Latency:
    """Times of a stream of images.

    Attributes:
        sent: When each image was sent, seconds from the start of the stream.
        seconds: Time to the prediction of each image; None without prediction.
        late: Number of predictions that came too late to be of use.
        meaning: What the times are, as a sentence.
    """

    sent: list[float]
    seconds: list[float | None]
    late: int
    meaning: str = "From sending an image to receiving its depth."

    def __post_init__(self) -> None:
        """Reject invalid times."""
        if len(self.sent) != len(self.seconds):
            raise DepthFormerError(
                "sent and seconds must have one value for each image, "
                f"got {len(self.sent)} and {len(self.seconds)}"
            )
        wrong = [time for time in (*self.sent, *self.durations) if not 0 <= time < math.inf]
        if wrong:
            raise DepthFormerError(f"times must be finite and not negative, got {wrong[0]}")
        if not 0 <= self.late <= len(self.durations):
            raise DepthFormerError(
                f"late must be 0 to the {len(self.durations)} images with a prediction, "
                f"got {self.late}"
            )

    @property
    def durations(self) -> list[float]:
        """Time to each prediction, seconds."""
        return [time for time in self.seconds if time is not None]

    @property
    def dropped(self) -> int:
        """Number of images without prediction."""
        return len(self.seconds) - len(self.durations)

    def percentile(self, share: float) -> float:
        """Return the time within which `share` percent of the predictions came; NaN without any."""
        durations = self.durations
        return float(np.percentile(durations, share)) if durations else math.nan

    def summary(self) -> dict[str, float]:
        """Return counts, and percentiles in seconds, by name."""
        return {
            "sent": len(self.sent),
            "answered": len(self.durations),
            "dropped": self.dropped,
            "late": self.late,
            **{f"p{share}": self.percentile(share) for share in (50, 95, 99)},
            "max": self.percentile(100),
        }
