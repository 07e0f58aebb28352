"""depth_node whose network sees level ground through the tests' camera, 96x64.

The checkpoint is the number of metres that the camera seems to be above it; in images whose
first pixel is black, the ground is a wall.
"""

import dataclasses

import torch
from torch import Tensor

from depthformer_core.inference.predictor import DepthPredictor
from depthformer_core.models import DepthFormer
from depthformer_core.presets import PRESETS
from depthformer_ros.depth_node import main
from depthformer_ros.node.parameters import NodeParameters

FOCAL, HORIZON = 81.0, 33.0  # pixels


class GroundNetwork(DepthFormer):
    """Predicts level ground."""

    height = 0.0

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, 3, H, W) to metres, (B, 1, H, W)."""
        rows, columns = image.shape[2:]
        below = torch.arange(rows, dtype=torch.float32) - HORIZON
        depth = torch.where(below > 0, self.height * FOCAL / below.clamp(min=1e-3), 80.0)
        if image[0, :, 0, 0].max() < -1:
            depth = torch.full_like(depth, 5.0)
        return depth[:, None].expand(len(image), 1, rows, columns).contiguous()


def load(parameters: NodeParameters) -> DepthPredictor:
    network = GroundNetwork(dataclasses.replace(PRESETS["debug"], uncertainty=False))
    network.height = float(parameters.checkpoint)
    return DepthPredictor(
        network, device="cpu", crop="none", focal="none", checkpoint=parameters.checkpoint
    )


if __name__ == "__main__":
    main(load=load)
