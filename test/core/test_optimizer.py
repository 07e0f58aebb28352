"""The optimizer's parameter groups, and the learning rate of the official release."""

import pytest
import torch

from depthformer_core import create_model
from depthformer_core.training.optimizer import build_optimizer, learning_rate

# Iteration from 1, and the rate to the digits that were logged.
LOGGED = {
    50: "4.824e-07",
    100: "8.726e-07",
    500: "3.993e-06",
    1000: "7.884e-06",
    2000: "1.560e-05",
    4000: "3.048e-05",
    8000: "5.607e-05",
    12800: "7.500e-05",
    16000: "6.294e-05",
    20000: "4.673e-05",
    25600: "2.500e-05",
    30000: "1.135e-05",
    36000: "9.615e-07",
    38000: "2.691e-08",
    38400: "1.167e-12",
}


@pytest.mark.parametrize("iteration", LOGGED)
def test_learning_rate_equals_the_release(iteration: int) -> None:
    rate = learning_rate(iteration - 1, peak=1e-4, warm_up=12_800, iterations=38_400)
    assert f"{rate:.3e}" == LOGGED[iteration]


def test_learning_rate_without_warm_up_starts_at_the_peak() -> None:
    assert learning_rate(0, peak=0.1, warm_up=0, iterations=10) == pytest.approx(0.1)


def test_layer_norms_and_tables_are_not_decayed() -> None:
    model = create_model("debug")
    optimizer = build_optimizer(model, lr=1e-3, weight_decay=0.02, betas=(0.8, 0.9))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decay = {
        names[id(parameter)]: group["weight_decay"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert decay.keys() == dict(model.named_parameters()).keys()
    free = {name for name, value in decay.items() if value == 0}
    swin = model.swin
    assert free == {
        f"{name}.{part}"
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.LayerNorm)
        for part in ("weight", "bias")
    } | {name for name in decay if name.endswith("relative_position_bias_table")}
    assert "swin.norms.0.weight" in free
    assert decay["neck.laterals.0.norm.weight"] == 0.02
    assert sum(name.endswith("bias_table") for name in free) == sum(
        len(layer.blocks) for layer in swin.layers
    )
