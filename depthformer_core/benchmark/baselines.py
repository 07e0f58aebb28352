"""Baselines of the benchmark: the package as it is used, and its alternatives."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from depthformer_core.benchmark.cpp_attention import cpp_attention
from depthformer_core.checkpoint import load_checkpoint
from depthformer_core.device import resolve_device
from depthformer_core.errors import DepthFormerError
from depthformer_core.inference.predictor import DepthPredictor
from depthformer_core.models import create_model
from depthformer_core.models.hahi import DeformableAttention
from depthformer_core.ops.deformable_attention import ms_deform_attn_reference
from depthformer_core.weights import SHIPPED

OURS = "ours"
COMPILED = "ours, compiled"
EAGER = "eager"
GRID_SAMPLE = "grid_sample"
CPP = "ms_deform_attn C++"


@dataclass(frozen=True)
class Setup:
    """Conditions of all baselines.

    Attributes:
        preset: Name of the preset.
        height: Rows of the image.
        width: Columns of the image.
        device: As for `DepthPredictor`.
        precision: As for `DepthPredictor`.
    """

    preset: str
    height: int
    width: int
    device: str
    precision: str


def available(device: torch.device, *, compiled: bool) -> tuple[list[str], dict[str, str]]:
    """Find the available baselines.

    Args:
        device: Where they would run.
        compiled: Whether `COMPILED` is one.

    Returns:
        Names of the baselines, `OURS` first, and by the name of each other why it is missing.
    """
    baselines = [OURS, *([COMPILED] if compiled else []), EAGER, GRID_SAMPLE]
    try:
        cpp_attention(device)
    except DepthFormerError as error:
        return baselines, {CPP: str(error)}
    return [*baselines, CPP], {}


def prepare(baseline: str, setup: Setup) -> Callable[..., Any]:
    """Build the run of a baseline.

    Args:
        baseline: Its name.
        setup: Its conditions.

    Returns:
        Function that calls another one with the baseline's predictor, an image and arguments.

    Raises:
        DepthFormerError: The device or precision is unknown, or not there.
    """
    predictor = build(baseline, setup)
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (setup.height, setup.width, 3), dtype=np.uint8)

    def run(measure: Callable[..., Any], *args: object) -> Any:
        return measure(predictor, image, *args)

    return run


def build(baseline: str, setup: Setup) -> DepthPredictor:
    """Build the predictor of a baseline; all have the same weights.

    `OURS` and `COMPILED` are what `DepthPredictor.from_checkpoint` makes. The others are the plain
    network, run by eager PyTorch, and differ in their attention: `EAGER` has ours.

    Raises:
        DepthFormerError: The device or precision is unknown, or not there; or the package is
            missing.
    """
    if baseline in (OURS, COMPILED):
        return DepthPredictor.from_checkpoint(
            setup.preset,
            device=setup.device,
            precision=setup.precision,
            crop="none",
            compile=baseline == COMPILED,
        )
    if setup.preset in SHIPPED:
        model = load_checkpoint(SHIPPED[setup.preset])
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = create_model(setup.preset)
    if baseline != EAGER:
        attend = ms_deform_attn_reference
        if baseline == CPP:
            attend = cpp_attention(resolve_device(setup.device))
        for module in model.modules():
            if isinstance(module, DeformableAttention):
                module.attend = attend
    return DepthPredictor(model, device=setup.device, precision=setup.precision, crop="none")
