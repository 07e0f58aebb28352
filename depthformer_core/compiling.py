"""Networks compiled by `torch.compile`."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from depthformer_core.errors import DepthFormerError, first_line


def compile_network(model: nn.Module, *, fullgraph: bool = False) -> Callable[[Tensor], Tensor]:
    """Make kernels for a network when it first runs on images of a size.

    Args:
        model: The network.
        fullgraph: Whether a part that cannot be compiled is an error, instead of run as it is.

    Returns:
        The network as a function, which raises a `DepthFormerError` where it cannot be compiled.
    """
    # This import takes seconds, so only `torch.compile` pays for it.
    from torch._dynamo.exc import TorchDynamoException

    compiled: Callable[[Tensor], Tensor] = torch.compile(model, fullgraph=fullgraph, dynamic=False)

    def run(images: Tensor) -> Tensor:
        try:
            return compiled(images)
        except TorchDynamoException as error:
            raise DepthFormerError(
                f"torch.compile of PyTorch {torch.__version__} cannot compile the network for "
                f"{images.device.type}: {first_line(error)}; use compile=False"
            ) from error

    return run
