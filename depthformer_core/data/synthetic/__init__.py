"""A generated world with exact metric depth: streets, drives through them, their scans."""

from depthformer_core.data.synthetic.dataset import SyntheticDataset
from depthformer_core.data.synthetic.drive import CAMERA_HEIGHT, STREET_CAMERA, Drive, Mount
from depthformer_core.data.synthetic.render import render
from depthformer_core.data.synthetic.scene import Scene, Theme
from depthformer_core.data.synthetic.write import DEPTH_TRUTH_TOPIC, write_bag, write_kitti

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
]
