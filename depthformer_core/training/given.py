"""What a run takes from Python instead of its options."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from depthformer_core.data.dataset import DepthDataset
from depthformer_core.errors import DepthFormerError
from depthformer_core.training.batches import Augment
from depthformer_core.training.config import TrainingConfig
from depthformer_core.training.losses import Loss


@dataclass(frozen=True, kw_only=True)
class Given:
    """Arguments of `train`; None for what the configuration says."""

    dataset: DepthDataset | None = None
    validation: DepthDataset | None = None
    loss: Loss | None = None
    augment: Augment | None = None

    @property
    def names(self) -> dict[str, str]:
        """Qualified names of loss and augmentation, where they are given."""
        functions = {"loss": self.loss, "augment": self.augment}
        return {key: _name(value) for key, value in functions.items() if value is not None}

    def open_validation(self, config: TrainingConfig) -> DepthDataset | None:
        """Return the images to evaluate on, or None if no evaluation is wanted.

        Raises:
            DepthFormerError: They are neither given nor named, or cannot be opened.
        """
        if not config.val.every:
            return None
        if self.validation is not None:
            return self.validation
        named = config.val.root or config.data.root
        generated = (config.val.name or config.data.name) == "synthetic"
        if self.dataset is not None and not named and not generated:
            raise DepthFormerError(
                "with a dataset of its own, a run needs validation=, the images to evaluate on, or "
                "val=ValidationData(every=0) in its configuration to train without"
            )
        return config.val.open(config.data)


def _name(function: Callable[..., Any]) -> str:
    # An object has the name of its class.
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"
