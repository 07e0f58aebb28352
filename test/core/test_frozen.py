"""A network frozen for inference predicts as before."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from depthformer_core import DepthPredictor, create_model
from depthformer_core.device import cudnn_flags
from depthformer_core.models import DepthFormer, freeze

SIZE = (72, 136)


def trained(preset: str) -> DepthFormer:
    """A network with running statistics in its BatchNorm."""
    torch.manual_seed(3)
    model = create_model(preset)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)
    # Depths that differ from pixel to pixel.
    nn.init.normal_(model.head.weight, std=2.0)
    return model


@pytest.mark.parametrize("preset", ["debug", "small"])
@pytest.mark.parametrize("batch", [1, 2])
def test_the_predictions_are_those_of_the_network(preset: str, batch: int) -> None:
    model = trained(preset)
    image = torch.randn(batch, 3, *SIZE)
    with torch.inference_mode():
        expected = model(image)
        prediction = freeze(copy.deepcopy(model))(image)
    assert expected.std() > 0.1
    torch.testing.assert_close(prediction, expected, rtol=3e-4, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("preset", ["debug", "small", "swin_tiny_kitti"])
@pytest.mark.parametrize("batch", [1, 2])
def test_a_gpu_predicts_as_the_cpu_does(preset: str, batch: int) -> None:
    """With its own concatenation, interpolation and positional encoding."""
    model = trained(preset)
    image = torch.randn(batch, 3, *SIZE)
    with (
        torch.inference_mode(),
        cudnn_flags(torch.device("cuda"), allow_tf32=False),
    ):
        expected = model(image)
        prediction = freeze(copy.deepcopy(model), device="cuda")(image.cuda())
        rounded = freeze(copy.deepcopy(model), device="cuda", dtype=torch.bfloat16)
        with torch.autocast("cuda", torch.bfloat16):
            half = rounded(image.cuda())
    assert expected.std() > 0.1
    torch.testing.assert_close(prediction.cpu(), expected, rtol=1e-3, atol=1e-3)
    # Beside the spread: most of its depths are the smallest one, where ratios mean nothing.
    assert (half.cpu() - expected).abs().mean() < 0.03 * expected.std()


def test_nothing_is_left_to_fold_or_to_train() -> None:
    frozen = freeze(trained("debug"))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in frozen.modules())
    assert not any(parameter.requires_grad for parameter in frozen.parameters())


def test_weights_are_rounded_where_mixed_precision_rounds_them() -> None:
    model = trained("small")
    frozen = freeze(copy.deepcopy(model), dtype=torch.bfloat16)
    assert frozen.swin.layers[0].blocks[0].mlp.fc1.weight.dtype == torch.bfloat16
    for exact in (frozen.head, frozen.neck.reference_points, frozen.swin.norms[0]):
        assert exact.weight.dtype == torch.float32
    image = torch.randn(1, 3, *SIZE)
    with torch.inference_mode():
        exact_depth = model(image)
        with torch.autocast("cpu", torch.bfloat16):
            mixed, rounded = model(image), frozen(image)
    error, mixed_error = (
        ((depth - exact_depth).abs() / exact_depth).mean() for depth in (rounded, mixed)
    )
    assert 0 < error < max(1.5 * mixed_error, 0.01)


def test_every_size_has_its_own_masks_and_codes() -> None:
    """Constants kept for one size are not used for another."""
    model = trained("debug")
    frozen = freeze(copy.deepcopy(model))
    with torch.inference_mode():
        for size in ((40, 64), SIZE, (64, 40), (40, 64)):
            image = torch.randn(1, 3, *size)
            torch.testing.assert_close(frozen(image), model(image), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_compiled_it_is_one_graph_with_the_same_predictions() -> None:
    """No graph break: what the CUDA graph of a GPU is made from."""
    model = freeze(trained("debug"))
    graphs = []

    def keep(graph, _inputs):
        graphs.append(graph)
        return graph

    compiled = torch.compile(model, backend=keep, fullgraph=True, dynamic=False)
    image = torch.randn(1, 3, 40, 64)
    with torch.inference_mode():
        torch.testing.assert_close(compiled(image), model(image), rtol=1e-4, atol=1e-4)
    assert len(graphs) == 1


def test_the_predictor_freezes_what_it_loads() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    predictor = DepthPredictor.from_checkpoint("debug", device="cpu", precision="float32")
    assert not any(isinstance(module, nn.BatchNorm2d) for module in predictor.model.modules())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        plain = DepthPredictor(create_model("debug"), device="cpu", precision="float32")
    assert any(isinstance(module, nn.BatchNorm2d) for module in plain.model.modules())
    np.testing.assert_allclose(predictor.predict(rgb).depth, plain.predict(rgb).depth, rtol=1e-4)
