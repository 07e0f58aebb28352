"""One iteration of training."""

import contextlib
import copy
import dataclasses
import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch._dynamo.exc import TorchDynamoException

from depthformer_core import PRESETS, DepthFormer, create_model
from depthformer_core.device import cudnn_flags, tf32_products
from depthformer_core.errors import DepthFormerError
from depthformer_core.inference.normalize import normalize
from depthformer_core.training.batches import Batch
from depthformer_core.training.config import Optimization
from depthformer_core.training.losses import log_l1_loss, silog_loss
from depthformer_core.training.trainer import NonFiniteError, Trainer

CPU = torch.device("cpu")


def network(**changes: object) -> DepthFormer:
    torch.manual_seed(0)
    return create_model(dataclasses.replace(PRESETS["debug"], **changes))  # type: ignore[arg-type]


def batch(images: int = 2, *, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    depth = np.geomspace(40, 2, 32)[:, None] * rng.uniform(0.9, 1.1, (images, 1, 32, 48))
    pixels = 255 / depth[:, 0, :, :, None] + rng.uniform(0, 60, (images, 32, 48, 3))
    pixels, truth = pixels.astype(np.float32), depth.astype(np.float32)
    truth *= rng.uniform(size=truth.shape) < 0.4
    files = tuple(f"image_{seed}_{index}.png" for index in range(images))
    return Batch(torch.from_numpy(pixels), torch.from_numpy(truth), files)


def optimization(**changes: object) -> Optimization:
    defaults = {"iterations": 20, "warm_up": 0, "lr": 1e-3, "batch_size": 2}
    return Optimization(**(defaults | changes))  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_release_step(
    parity: Path, fill: ModuleType, filled: Callable[[str, str], DepthFormer]
) -> None:
    """Loss and norm of the recorded step, and the three losses of its warm-up variant."""
    recorded = json.loads((parity / "swint_training_step.json").read_text())
    inputs = recorded["input"]
    size = (inputs["height"], inputs["width"])
    normalised = np.concatenate([fill.image(seed, *size) for seed in inputs["image_seeds"]])
    mean = np.array([123.675, 116.28, 103.53]).reshape(1, 3, 1, 1)
    deviation = np.array([58.395, 57.12, 57.375]).reshape(1, 3, 1, 1)
    pixels = (normalised * deviation + mean).astype(np.float32).transpose(0, 2, 3, 1)
    rng = np.random.default_rng(inputs["depth_seed"])
    truth = rng.uniform(0.5, 9.5, (2, 1, *size)).astype(np.float32)
    truth *= rng.uniform(size=(2, 1, *size)) < 0.3
    given = Batch(torch.from_numpy(pixels), torch.from_numpy(truth), ("a", "b"))
    model = filled("swint_nyu", "swin_tiny_nyu")
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        elif hasattr(module, "drop_prob"):
            module.drop_prob = 0.0

    # A rate of almost zero keeps the weights, so that the same step can be taken three times.
    still = optimization(lr=1e-12, mean_only=2)
    trainer = Trainer(model, still, device=CPU)
    losses = [trainer.step([given]).loss for _ in range(3)]
    assert losses == pytest.approx(recorded["warm_up_loss_three_calls_warm_iter_2"], rel=1e-5)

    step = Trainer(model, optimization(lr=1e-12), device=CPU).step([given])
    assert step.loss == pytest.approx(recorded["loss"], rel=1e-5)
    assert step.gradient_norm == pytest.approx(recorded["gradient_norm_total"], rel=1e-3)


@pytest.mark.slow
def test_learns_one_batch() -> None:
    trainer = Trainer(network(), optimization(iterations=60, lr=3e-3), device=CPU)
    losses = [trainer.step([batch()]).loss for _ in range(60)]
    assert losses[-1] < 0.8 * losses[0]


def test_same_seed_same_losses() -> None:
    def losses(seed: int) -> list[float]:
        trainer = Trainer(network(drop_path=0.3), optimization(), device=CPU, seed=seed)
        return [trainer.step([batch()]).loss for _ in range(3)]

    assert losses(1) == losses(1)
    assert losses(1) != losses(2)


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_resumed_is_as_never_stopped(ema_decay: float, tmp_path: Path) -> None:
    def trainer() -> Trainer:
        optim = optimization(ema_decay=ema_decay)
        return Trainer(network(drop_path=0.3), optim, device=CPU, seed=3)

    through = trainer()
    expected = [through.step([batch(seed=index)]) for index in range(6)]
    stopped = trainer()
    for index in range(3):
        stopped.step([batch(seed=index)])
    stopped.record(0.5)
    stopped.save(tmp_path / "state.safetensors")
    resumed = trainer()
    resumed.load(tmp_path / "state.safetensors")
    assert resumed.progress.best == 0.5
    assert [resumed.step([batch(seed=index)]) for index in range(3, 6)] == expected[3:]
    for name, value in through.eval_model.state_dict().items():
        assert torch.equal(resumed.eval_model.state_dict()[name], value), name


def test_accumulated_parts_give_the_mean_gradient() -> None:
    parts = [batch(seed=0), batch(seed=1)]
    optim = optimization(batch_size=4, grad_accumulation_steps=2)
    together = Trainer(network(dropout=0.0), optim, device=CPU)
    loss = together.step(parts).loss
    alone = [Trainer(network(dropout=0.0), optimization(), device=CPU) for _ in parts]
    losses = [trainer.step([part]).loss for trainer, part in zip(alone, parts, strict=True)]
    assert loss == pytest.approx(np.mean(losses), rel=1e-5)
    for name, parameter in together.model.named_parameters():
        grads = [trainer.model.get_parameter(name).grad for trainer in alone]
        assert parameter.grad is not None
        mean = sum(grad for grad in grads if grad is not None) / 2
        torch.testing.assert_close(parameter.grad, mean, rtol=1e-4, atol=1e-6)


def test_gradient_is_clipped() -> None:
    trainer = Trainer(network(), optimization(max_grad_norm=1e-3), device=CPU)
    step = trainer.step([batch()])
    assert step.gradient_norm > 1e-2
    squares = [p.grad.square().sum() for p in trainer.model.parameters() if p.grad is not None]
    assert math.sqrt(sum(squares)) == pytest.approx(1e-3, rel=1e-3)


def test_average_follows_slowly() -> None:
    trainer = Trainer(network(), optimization(ema_decay=0.5), device=CPU)
    weight = trainer.model.head.bias
    assert weight is not None
    expected = None
    for _ in range(3):
        trainer.step([batch()])
        now = weight.detach().clone()
        expected = now if expected is None else 0.5 * expected + 0.5 * now
    assert trainer.eval_model is not trainer.model
    torch.testing.assert_close(trainer.eval_model.head.bias, expected)


def test_sigmoid_head_trains() -> None:
    trainer = Trainer(network(head="sigmoid"), optimization(), device=CPU)
    assert math.isfinite(trainer.step([batch()]).loss)


def test_the_loss_is_the_requested_one() -> None:
    model, given = network(dropout=0.0, upsampling="convex"), batch()
    with torch.no_grad():
        depth = copy.deepcopy(model).train()(normalize(given.pixels))
    for name, loss in (("silog", silog_loss), ("log_l1", log_l1_loss)):
        trainer = Trainer(copy.deepcopy(model), optimization(loss=name), device=CPU)
        assert trainer.step([given]).loss == pytest.approx(loss(depth, given.truth).item())


def test_bfloat16_is_close_to_float32() -> None:
    steps = [
        Trainer(network(dropout=0.0), optimization(), device=CPU, precision=precision).step(
            [batch()]
        )
        for precision in ("float32", "bfloat16")
    ]
    assert steps[1].loss == pytest.approx(steps[0].loss, rel=2e-2)
    assert steps[1].loss != steps[0].loss


@pytest.mark.parametrize("fault", ["no truth", "nan pixel"])
def test_not_finite_names_the_images_and_changes_nothing(fault: str) -> None:
    trainer = Trainer(network(), optimization(), device=CPU)
    trainer.step([batch()])
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    bad = batch(seed=7)
    if fault == "no truth":
        bad.truth.zero_()
    else:
        bad.pixels[0, 3, 3, 0] = torch.nan
    with pytest.raises(
        NonFiniteError,
        match=r"iteration 2: loss nan.*image_7_0.png \(\d+ pixels with truth\), image_7_1",
    ):
        trainer.step([bad])
    assert trainer.progress.iteration == 1
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(value, before[name]), name
    trainer.skip()
    assert trainer.step([batch()]).iteration == 3
    assert trainer.progress.steps == 2


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.99, 0.999, 0.9999])
def test_the_average_follows_the_weights_and_copies_counters(decay: float) -> None:
    trainer = Trainer(network(), optimization(ema_decay=decay, lr=1e-2), device=CPU)
    expected: dict[str, torch.Tensor] = {}
    for step in range(4):
        trainer.step([batch(seed=step)])
        for name, tensor in trainer.model.state_dict().items():
            if step == 0 or not tensor.is_floating_point():
                expected[name] = tensor.clone()
            else:
                expected[name] = decay * expected[name] + (1 - decay) * tensor
    averaged = trainer.eval_model.state_dict()
    assert averaged.keys() == expected.keys()
    for name, tensor in averaged.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-6)
    assert averaged["stem.norm.num_batches_tracked"] == 4
    buffers = zip(trainer.eval_model.named_buffers(), trainer.model.named_buffers(), strict=True)
    indices = [
        (mine, theirs)
        for (name, mine), (_, theirs) in buffers
        if name.endswith("relative_position_index")
    ]
    assert indices
    assert all(torch.equal(*pair) for pair in indices)


def test_the_compiled_network_is_the_one_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the compiler, which takes minutes."""
    compiled = []

    def compiler(model: torch.nn.Module, **_: object) -> Callable[[torch.Tensor], torch.Tensor]:
        compiled.append(model)
        return lambda images: model(images)

    monkeypatch.setattr(torch, "compile", compiler)
    steps = []
    for compile in (False, True):  # noqa: A001
        trainer = Trainer(network(dropout=0.0), optimization(), device=CPU, compile=compile)
        steps.append([trainer.step([batch(seed=index)]) for index in range(2)])
    assert steps[0] == steps[1]
    assert compiled == [trainer.model]


def test_a_network_that_cannot_be_compiled_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def compiler(*_: object, **__: object) -> Callable[[torch.Tensor], torch.Tensor]:
        def fail(_: torch.Tensor) -> torch.Tensor:
            raise TorchDynamoException("no compiler\nand a page of details")

        return fail

    monkeypatch.setattr(torch, "compile", compiler)
    trainer = Trainer(network(), optimization(), device=CPU, compile=True)
    with pytest.raises(DepthFormerError, match=r"cannot compile the network for cpu: no compiler"):
        trainer.step([batch()])


def test_products_are_rounded_on_a_gpu_alone() -> None:
    for device, expected in (("cpu", "highest"), ("cuda", "high")):
        with tf32_products(torch.device(device)):
            assert torch.get_float32_matmul_precision() == expected
        assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.gpu
def test_a_gpu_takes_the_same_step(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = {}
    monkeypatch.setattr(
        "depthformer_core.training.trainer.tf32_products", lambda _: contextlib.nullcontext()
    )
    # TensorFloat-32 would change the gradients of such small images: the last BatchNorm sees four
    # numbers a channel.
    with cudnn_flags(torch.device("cuda"), allow_tf32=False):
        for device in ("cpu", "cuda"):
            model = network(hahi_dim=16, dropout=0.0)
            trainer = Trainer(model, optimization(), device=torch.device(device))
            steps[device] = [trainer.step([batch(seed=index)]) for index in range(3)]
    for on_cpu, on_gpu in zip(steps["cpu"], steps["cuda"], strict=True):
        assert on_gpu.loss == pytest.approx(on_cpu.loss, rel=1e-2)
        assert on_gpu.gradient_norm == pytest.approx(on_cpu.gradient_norm, rel=5e-2)


@pytest.mark.gpu
def test_a_gpu_is_waited_for_once_a_step() -> None:
    trainer = Trainer(
        network(), optimization(ema_decay=0.9), device=torch.device("cuda"), precision="bfloat16"
    )
    trainer.step([batch()])
    given = batch().pin_memory()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            trainer.step([given])
    finally:
        torch.cuda.set_sync_debug_mode("default")
    waits = [str(warning.message) for warning in caught if "synchroniz" in str(warning.message)]
    assert len(waits) == 1, [f"{w.filename}:{w.lineno}: {w.message}" for w in caught]
