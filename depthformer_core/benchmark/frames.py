"""Time of whole frames, and of their stages."""

import time
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from depthformer_core.device import peak_memory
from depthformer_core.inference.predictor import DepthPredictor
from depthformer_core.types import Rgb

_Amount = TypeVar("_Amount", int, float)

ATTENTIONS = ("neck.self_attention", "neck.cross_attention")
PARTS = ("stem", "swin", "neck", *ATTENTIONS, "decoder", "head")
"""Names of the sub-modules whose time and work are taken; each lies before the next or in it."""


def by_stage(parts: dict[str, _Amount]) -> dict[str, _Amount]:
    """Convert seconds, or a count, of each of the `PARTS` to those of each stage of the network."""
    self_attention, cross_attention = (parts[name] for name in ATTENTIONS)
    return {
        "convolution stem": parts["stem"],
        "Swin": parts["swin"],
        "neck: self-attention": self_attention,
        "neck: cross-attention": cross_attention,
        "neck: rest": parts["neck"] - self_attention - cross_attention,
        "decoder": parts["decoder"] + parts["head"],
    }


@dataclass(frozen=True)
class FrameTiming:
    """One frame, from the RGB image to its depth in the computer's memory.

    Attributes:
        seconds: Its duration.
        peak_memory: Largest memory of the process so far, bytes: the GPU's, or resident on the CPU.
    """

    seconds: float
    peak_memory: int


@dataclass(frozen=True)
class StageTimes:
    """Times of the stages of one frame, with a synchronisation after each.

    Attributes:
        seconds: Of each stage, by name, in order.
        size: Height and width of what the network read, pixels.
        device: Device of the network.
        precision: Precision of the network.
    """

    seconds: dict[str, float]
    size: tuple[int, int]
    device: str
    precision: str


def time_frame(predictor: DepthPredictor, image: Rgb) -> FrameTiming:
    """Time one frame."""
    start = time.perf_counter()
    predictor.predict(image)
    return FrameTiming(
        time.perf_counter() - start, peak_memory(torch.device(str(predictor.device)))
    )


def time_stages(predictor: DepthPredictor, image: Rgb) -> StageTimes:
    """Time each stage of one frame, waiting for the device between any two."""
    started: dict[str, float] = {}
    ended: dict[str, float] = {}
    sizes: list[tuple[int, int]] = []

    def now() -> float:
        if predictor.device.type == "cuda":
            torch.cuda.synchronize(str(predictor.device))
        return time.perf_counter()

    def watch(name: str, module: nn.Module) -> list[RemovableHandle]:
        def start(*_: object) -> None:
            started[name] = now()

        def end(*_: object) -> None:
            ended[name] = now()

        return [module.register_forward_pre_hook(start), module.register_forward_hook(end)]

    def read_size(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        sizes.append((inputs[0].shape[2], inputs[0].shape[3]))

    network = predictor.model
    # The hooks do not run within a CUDA graph.
    predictor = DepthPredictor(
        network,
        device=str(predictor.device),
        precision=predictor.precision,
        crop=predictor.crop,
        focal=predictor.focal,
    )
    hooks = [network.register_forward_pre_hook(read_size)]
    for name in PARTS:
        hooks += watch(name, network.get_submodule(name))
    try:
        begin = now()
        predictor.predict(image)
        end = now()
    finally:
        for hook in hooks:
            hook.remove()
    seconds = {
        "pre-processing": started["stem"] - begin,
        **by_stage({name: ended[name] - started[name] for name in PARTS}),
        "post-processing": end - ended["head"],
    }
    return StageTimes(seconds, sizes[0], str(predictor.device), predictor.precision)
