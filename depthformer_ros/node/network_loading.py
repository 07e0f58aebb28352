"""The network of the node: loading, warm-up and release."""

import gc

import numpy as np
import torch

from depthformer_core.inference.predictor import DepthPredictor
from depthformer_ros.node.parameters import NodeParameters

# Height and width of the warm-up image: those of a KITTI camera.
_WARM_UP_SIZE = (375, 1242)


def load_predictor(parameters: NodeParameters) -> DepthPredictor:
    """Load the network that the parameters name, and run it once.

    Raises:
        CheckpointError: The checkpoint cannot be loaded.
        DepthFormerError: The device or an option is unknown or missing.
    """
    predictor = DepthPredictor.from_checkpoint(
        parameters.checkpoint,
        device=parameters.device,
        precision=parameters.precision,
        crop=parameters.input_crop,
        focal=parameters.input_focal,
        flip=parameters.flip,
        rotate=parameters.input_rotate,
        compile=parameters.compile,
    )
    predictor.predict(np.zeros((*_WARM_UP_SIZE, 3), np.uint8))
    return predictor


def free_memory() -> None:
    """Free unused memory, on the GPU too."""
    gc.collect()
    torch.cuda.empty_cache()


def device_works(device: torch.device) -> bool:
    """Return whether a device works: after some errors a GPU fails until its process ends."""
    if device.type != "cuda":
        return True
    try:
        torch.ones(1, device=device).sum().item()
    except torch.cuda.OutOfMemoryError:
        return True
    except RuntimeError:
        return False
    return True
