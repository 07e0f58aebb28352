"""The Swin branch starts from timm's ImageNet weights."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from depthformer_core.models import DepthFormer, create_model
from depthformer_core.models.imagenet import load_imagenet
from depthformer_core.presets import PRESETS

TINY = "swin_tiny_patch4_window7_224"


@pytest.fixture(scope="module")
def classifier() -> nn.Module:
    """timm's network with random weights: as ImageNet's, but for the numbers."""
    torch.manual_seed(0)
    model: nn.Module = timm.create_model(TINY, img_size=448, num_classes=10).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return model


@pytest.fixture
def weights(classifier: nn.Module) -> dict[str, Tensor]:
    return dict(classifier.state_dict())


@pytest.fixture(scope="module")
def model() -> DepthFormer:
    return create_model("swin_tiny_kitti")


def to_release_layout(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Merging counted with the stage before it, the index kept, the classifier one layer."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        parts = name.split(".")
        if "downsample" in parts:
            parts[1] = str(int(parts[1]) - 1)
        renamed[".".join(parts).replace("head.fc.", "head.")] = tensor
    index = torch.zeros(49, 49, dtype=torch.long)
    return {**renamed, "layers.0.blocks.0.attn.relative_position_index": index}


def save_safetensors(weights: dict[str, Tensor], path: Path) -> Path:
    save_file(weights, path.with_suffix(".safetensors"))
    return path.with_suffix(".safetensors")


def save_pytorch(weights: dict[str, Tensor], path: Path) -> Path:
    torch.save({"model": to_release_layout(weights)}, path.with_suffix(".pth"))
    return path.with_suffix(".pth")


@pytest.mark.parametrize(
    "save", [save_safetensors, save_pytorch], ids=["timm safetensors", "release pth"]
)
def test_stages_compute_what_timm_computes(
    save: Callable[[dict[str, Tensor], Path], Path],
    classifier: nn.Module,
    weights: dict[str, Tensor],
    model: DepthFormer,
    tmp_path: Path,
) -> None:
    untouched = {
        name: tensor.clone()
        for name, tensor in model.state_dict().items()
        if not name.startswith("swin.") or name.startswith("swin.norms.")
    }
    assert load_imagenet(model, file=save(weights, tmp_path / "weights")) == f"{TINY}.ms_in1k"
    # Two whole windows at the last scale: with part of one the order of padding and rolling
    # matters, and where one is all there is, timm does not roll.
    image = torch.randn(1, 3, 448, 448, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        actual, expected = model.swin.patch_embed(image), classifier.patch_embed(image)
        for ours, theirs in zip(model.swin.layers, classifier.layers, strict=True):
            actual, expected = ours(actual), theirs(expected)
            torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)
    state = model.state_dict()
    for name, tensor in untouched.items():
        torch.testing.assert_close(state[name], tensor, rtol=0, atol=0, msg=name)


def test_a_file_without_the_classifiers_end_will_do(
    weights: dict[str, Tensor], model: DepthFormer, tmp_path: Path
) -> None:
    kept = {k: v for k, v in weights.items() if not k.startswith(("norm.", "head."))}
    load_imagenet(model, file=save_safetensors(kept, tmp_path / "weights"))


def without_one(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k: v for k, v in weights.items() if k != "layers.2.blocks.5.mlp.fc1.bias"}


def with_another(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**weights, "layers.3.blocks.2.norm1.bias": torch.zeros(768)}


def of_another_shape(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**weights, "layers.0.blocks.0.attn.qkv.bias": torch.zeros(12)}


def of_another_window(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    table = "layers.0.blocks.0.attn.relative_position_bias_table"
    return {**weights, table: torch.zeros(23 * 23, 3)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_one, "missing tensor layers.2.blocks.5.mlp.fc1.bias$"),
        (with_another, "unknown tensor layers.3.blocks.2.norm1.bias"),
        (of_another_shape, r"layers.0.blocks.0.attn.qkv.bias has shape \(12,\).* \(288,\)"),
        (of_another_window, r"bias_table has shape \(529, 3\), this Swin's is \(169, 3\)"),
    ],
    ids=["missing", "unknown", "misshapen", "other window"],
)
def test_weights_that_do_not_fit_are_named_and_nothing_is_loaded(
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]],
    message: str,
    weights: dict[str, Tensor],
    model: DepthFormer,
    tmp_path: Path,
) -> None:
    before = {name: tensor.clone() for name, tensor in model.swin.state_dict().items()}
    file = save_safetensors(change(weights), tmp_path / "weights")
    with pytest.raises(ValueError, match=message):
        load_imagenet(model, file=file)
    for name, tensor in model.swin.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0, msg=name)


class Code:
    """Something that only pickle can hold."""


def write_nothing(path: Path) -> None:
    del path


def write_garbage(path: Path) -> None:
    path.write_bytes(b"not weights")


def write_code(path: Path) -> None:
    torch.save({"model": Code()}, path)


def write_numbers(path: Path) -> None:
    torch.save({"model": {"epoch": 3}}, path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize(
    ("write", "message"),
    [
        (write_nothing, "no ImageNet weights at"),
        (write_garbage, "weights"),
        (write_code, "weights"),
        (write_numbers, "weights"),
    ],
    ids=["missing", "garbage", "pickled code", "no tensors"],
)
def test_unreadable_file_is_named_in_one_line(
    write: Callable[[Path], None], message: str, suffix: str, model: DepthFormer, tmp_path: Path
) -> None:
    path = tmp_path / f"weights{suffix}"
    write(path)
    with pytest.raises(ValueError, match=message) as error:
        load_imagenet(model, file=path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "config",
    [PRESETS["small"], dataclasses.replace(PRESETS["swin_tiny_kitti"], window_size=12)],
    ids=["small", "other window"],
)
def test_other_architectures_have_none(config: object) -> None:
    with pytest.raises(ValueError, match="no ImageNet weights for embed_dim") as error:
        load_imagenet(create_model(config))  # type: ignore[arg-type]
    assert TINY in str(error.value)
    assert "swin_large_patch4_window7_224.ms_in22k" in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "name"),
    [
        ("swin_tiny_kitti", "swin_tiny_patch4_window7_224.ms_in1k"),
        ("swin_large_nyu", "swin_large_patch4_window7_224.ms_in22k"),
    ],
)
def test_without_internet_the_error_names_the_file(preset: str, name: str, tmp_path: Path) -> None:
    code = (
        "import torch\n"
        "from depthformer_core.models import create_model\n"
        "from depthformer_core.models.imagenet import load_imagenet\n"
        "with torch.device('meta'):\n"
        f"    model = create_model({preset!r})\n"
        "try:\n"
        "    load_imagenet(model)\n"
        "except ValueError as error:\n"
        "    print(error)\n"
    )
    # Read when the hub's client is imported, so in a process of its own.
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    (line,) = result.stdout.splitlines()
    assert line.startswith(f"cannot fetch the ImageNet weights {name}: ")
    assert f"model.safetensors from https://huggingface.co/timm/{name} by hand" in line
