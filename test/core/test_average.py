"""The moving average of a network's weights."""

import pytest
import torch
from torch import nn

from depthformer_core import create_model
from depthformer_core.training.average import MovingAverage


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.99, 0.999, 0.9999])
def test_it_follows_what_is_trained_and_copies_what_counts(decay: float) -> None:
    network = create_model("debug")
    expected = {name: tensor.clone() for name, tensor in network.named_parameters()}
    average = MovingAverage(network, decay=decay)
    for step in range(4):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter))
            network.stem.norm.running_mean.add_(1.0)
            network.stem.norm.num_batches_tracked.add_(1)
        average.update(network, first=step == 0)
        for name, parameter in network.named_parameters():
            kept = 0.0 if step == 0 else decay
            expected[name] = kept * expected[name] + (1 - kept) * parameter.detach()
    for name, parameter in average.network.named_parameters():
        torch.testing.assert_close(parameter, expected[name], rtol=1e-4, atol=1e-5)
        assert not parameter.requires_grad
    followed = average.network.stem.norm
    assert followed.running_mean[0] < network.stem.norm.running_mean[0]
    assert followed.num_batches_tracked == network.stem.norm.num_batches_tracked
    indices = "relative_position_index"
    pairs = zip(average.network.named_buffers(), network.named_buffers(), strict=True)
    compared = 0
    for (name, mine), (_, theirs) in pairs:
        if name.endswith(indices):
            assert torch.equal(mine, theirs)
            compared += 1
    assert compared


def test_it_is_a_network_of_its_own() -> None:
    network = nn.Linear(2, 2)
    average = MovingAverage(network, decay=0.9)
    average.update(network, first=True)
    with torch.no_grad():
        network.weight.zero_()
    assert average.network.weight.any()
