"""Features side by side."""

import torch

from depthformer_core.models.join import join


def test_channels_follow_each_other() -> None:
    first, second = torch.randn(2, 3, 4, 5), torch.randn(2, 6, 4, 5)
    expected = torch.cat((first, second), dim=1)
    assert torch.equal(join((first, second)), expected)
    last = [feature.to(memory_format=torch.channels_last) for feature in (first, second)]
    assert torch.equal(join(last), expected)
