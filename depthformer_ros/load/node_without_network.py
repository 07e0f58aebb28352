"""The depth node with a trivial network, to measure the rest of the node."""

import dataclasses

import torch
from torch import Tensor

from depthformer_core.inference.predictor import DepthPredictor
from depthformer_core.models import DepthFormer
from depthformer_core.presets import PRESETS
from depthformer_ros.depth_node import main
from depthformer_ros.node.parameters import NodeParameters


class _Slope(DepthFormer):
    """Predicts the same for every image: depth that falls evenly from top to bottom."""

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, 3, H, W) to metres, (B, 1, H, W)."""
        height, width = image.shape[2:]
        rows = torch.linspace(60.0, 5.0, height, device=image.device)
        return rows[:, None].expand(len(image), 1, height, width).contiguous()


def _load(parameters: NodeParameters) -> DepthPredictor:
    return DepthPredictor(
        _Slope(dataclasses.replace(PRESETS["small"], uncertainty=False)),
        device=parameters.device,
        crop=parameters.input_crop,
        focal=parameters.input_focal,
        flip=parameters.flip,
        checkpoint="no network",
    )


if __name__ == "__main__":
    main(load=_load)
