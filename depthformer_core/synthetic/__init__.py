"""A generated world with exact metric depth: streets, drives through them, their scans."""

from depthformer_core.synthetic.dataset import SyntheticDataset
from depthformer_core.synthetic.drive import (
    CAMERA_HEIGHT,
    STREET_CAMERA,
    Drive,
    Mount,
    street_camera,
)
from depthformer_core.synthetic.export import DEPTH_TRUTH_TOPIC, write_bag, write_kitti
from depthformer_core.synthetic.rendering.render import render
from depthformer_core.synthetic.scene.scene import Scene, Theme

__all__ = [
    "Scene",
    "render",
    "Drive",
    "Mount",
    "SyntheticDataset",
    "Theme",
    "write_bag",
    "write_kitti",
    "CAMERA_HEIGHT",
    "DEPTH_TRUTH_TOPIC",
    "STREET_CAMERA",
    "street_camera",
]
