"""Every preset builds the network it promises."""

import pytest
import torch

from depthformer_core import PRESETS
from depthformer_core.models import DepthFormer

# Millions; the first two are the release's networks.
PARAMETERS = {
    "swin_large_kitti": 273.7,
    "swin_large_nyu": 273.7,
    "swin_tiny_kitti": 47.6,
    "swin_tiny_nyu": 47.6,
    "small": 4.2,
    "small_kitti": 4.2,
    "debug": 0.2,
}


@pytest.mark.parametrize("name", PRESETS)
def test_parameter_count(name: str) -> None:
    with torch.device("meta"):
        model = DepthFormer(PRESETS[name])
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count / 1e6 == pytest.approx(PARAMETERS[name], abs=0.05)


def test_protocols_set_depth_range_and_crop() -> None:
    for name, config in PRESETS.items():
        indoors = name.endswith("nyu")
        assert config.max_depth == (10.0 if indoors else 80.0), name
        crop = "none" if indoors else "view" if name.startswith("small") else "kitti"
        assert config.crop == crop, name
