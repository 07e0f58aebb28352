"""The optimizer's parameter groups."""

import torch

from depthformer_core import create_model
from depthformer_core.training.optimizer import build_optimizer


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
