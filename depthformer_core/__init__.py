"""DepthFormer: metric depth from one camera image."""

import importlib
from typing import TYPE_CHECKING, Any

from depthformer_core.openmp import shorten_waits

if TYPE_CHECKING:
    from depthformer_core.models import DepthFormer, create_model
    from depthformer_core.predictor import DepthPredictor, Prediction
    from depthformer_core.presets import PRESETS

# PyTorch reads it while it is imported.
shorten_waits()

__all__ = ["DepthPredictor", "Prediction", "DepthFormer", "create_model", "PRESETS"]

# PyTorch takes seconds to import, which a command's help should not.
_MODULES = {
    "DepthPredictor": "predictor",
    "Prediction": "predictor",
    "DepthFormer": "models",
    "create_model": "models",
    "PRESETS": "presets",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    """List what may be asked for."""
    return sorted({*globals(), *__all__})
