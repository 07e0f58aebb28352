"""Roofline: the least time that the work of a frame needs on a device.

The work is counted: operations of matrix products and convolutions, and the bytes that the
attentions gather. The peak rates of the device for both are measured.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from depthformer_core.benchmark.baselines import EAGER, Setup, build
from depthformer_core.benchmark.device_rates import copy_rate, matrix_rate
from depthformer_core.benchmark.frames import ATTENTIONS, PARTS, by_stage
from depthformer_core.inference.predictor import DepthPredictor
from depthformer_core.models.hahi import DeformableAttention
from depthformer_core.types import Rgb

# Smaller copies on a GPU would measure how long a launch takes.
_LEAST_COPY = 2**24


@dataclass(frozen=True)
class Work:
    """Work of one frame.

    Attributes:
        operations: Floating-point operations of each stage, by name.
        gathered: Bytes gathered by each stage, by name: all corners of all samples.
        maps: Bytes of the maps that are gathered from.
    """

    operations: dict[str, int]
    gathered: dict[str, int]
    maps: int


@dataclass(frozen=True)
class Rates:
    """Peak rates of a device.

    Attributes:
        operations: Per second, of a large matrix product in the precision of the network.
        bytes: Per second, read and written, of copies as large as the maps that the attentions
            gather from: these too stay in a cache that holds them.
    """

    operations: float
    bytes: float

    def least_seconds(self, operations: float, gathered: float) -> float:
        """Compute the least time of so much work, seconds."""
        return max(operations / self.operations, gathered / self.bytes)


def count_work(_: DepthPredictor, image: Rgb, setup: Setup) -> Work:
    """Count the work of a frame, on a plain network built for it.

    A network frozen for a device may hide operations in others that the counter does not know.
    """
    predictor = build(EAGER, setup)
    gathered = dict.fromkeys(PARTS, 0)
    maps = [0]

    def counting(name: str) -> Callable[..., Tensor]:
        def attend(value: Tensor, _: object, locations: Tensor, weights: Tensor) -> Tensor:
            batch, _rows, heads, dim = value.shape
            corners = 4 * weights.numel() * dim * value.element_size()
            gathered[name] += corners
            gathered["neck"] += corners
            maps.append(value.numel() * value.element_size())
            return value.new_zeros(batch, locations.shape[1], heads * dim)

        return attend

    for name in ATTENTIONS:
        attention = predictor.model.get_submodule(name)
        assert isinstance(attention, DeformableAttention)
        attention.attend = counting(name)
    # The other backends of the windows' attention are single operators, not all known to it.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        predictor.predict(image)
    return Work(
        by_stage({name: _operations(counter, predictor.model, name) for name in PARTS}),
        by_stage(gathered),
        max(maps),
    )


def measure_rates(predictor: DepthPredictor, _: Rgb, work: Work) -> Rates:
    """Measure the peak rates of the device."""
    device = torch.device(str(predictor.device))
    return Rates(
        matrix_rate(device, getattr(torch, predictor.precision)),
        copy_rate(device, max(work.maps, _LEAST_COPY)),
    )


def _operations(counter: FlopCounterMode, network: nn.Module, part: str) -> int:
    counts = counter.get_flop_counts()
    return sum(counts.get(f"{type(network).__name__}.{part}", {}).values())
