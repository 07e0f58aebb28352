"""PyTorch's libraries, which a robot with an exported network does without."""

import contextlib
from collections.abc import Iterator

from depthformer_core.errors import CheckpointError

LIBRARIES = ("safetensors", "timm", "torch", "torchvision")
"""Modules of PyTorch and of what runs on it here."""

INSTALL = f"pip install {' '.join(LIBRARIES)}"
"""The command that installs them."""


def missing_library(error: ImportError) -> str:
    """Return which of the libraries an import lacks; empty for none of them."""
    library = (error.name or "").partition(".")[0]
    return library if library in LIBRARIES else ""


@contextlib.contextmanager
def needing_pytorch(checkpoint: str) -> Iterator[None]:
    """Import what runs a checkpoint of PyTorch.

    Args:
        checkpoint: Its name, for the message.

    Raises:
        CheckpointError: One of the libraries cannot be imported.
    """
    try:
        yield
    except ImportError as error:
        if not missing_library(error):
            raise
        raise CheckpointError(
            f"checkpoint {checkpoint} needs {missing_library(error)}, which cannot be imported "
            f"({error}): {INSTALL}; or export it where they are installed, depthformer export "
            f"{checkpoint} FILE.onnx, and name that file, which needs onnxruntime alone"
        ) from error
