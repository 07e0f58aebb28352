"""Checkpoints: written whole, read strictly, the release's converted or refused."""

import dataclasses
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from depthformer_core import PRESETS, create_model
from depthformer_core.checkpoint import (
    CheckpointError,
    convert_official_state_dict,
    load_checkpoint,
    read_official_checkpoint,
    save_checkpoint,
)
from depthformer_core.models import DepthFormer


@pytest.fixture
def model() -> DepthFormer:
    torch.manual_seed(1)
    return create_model("debug")


def official_names(model: DepthFormer) -> dict[str, str]:
    """Official name of each of our tensors, written down apart from the converter."""
    names = {}
    for ours in model.state_dict():
        head, _, rest = ours.partition(".")
        if head == "swin":
            parts = rest.split(".")
            if parts[0] == "layers" and parts[2] == "downsample":
                name = f"backbone.stages.{int(parts[1]) - 1}." + ".".join(parts[2:])
            else:
                name = "backbone." + rest.replace("layers.", "stages.")
                for a, b in (
                    ("patch_embed.proj.", "patch_embed.projection."),
                    (".attn.", ".attn.w_msa."),
                    (".mlp.fc1.", ".ffn.layers.0.0."),
                    (".mlp.fc2.", ".ffn.layers.1."),
                    ("norms.", "norm"),
                ):
                    name = name.replace(a, b)
        elif head == "stem":
            name = "backbone." + rest.replace("conv.", "conv1.").replace("norm.", "bn1.")
        elif head == "neck":
            name = ours
            for a, b in (
                (".norm.", ".bn."),
                ("laterals.", "lateral_convs."),
                ("stage_projections.", "trans_proj."),
                ("stage_fusions.", "trans_fusion."),
                ("stem_projection.", "conv_proj.0."),
                ("stem_fusion.", "conv_fusion.0."),
                ("level_code", "level_embed"),
                ("self_attention.", "self_attn."),
                ("cross_attention.", "multi_att."),
            ):
                name = name.replace(a, b)
        elif head == "decoder":
            if rest.startswith("bottleneck"):
                name = rest.replace("bottleneck", "decode_head.conv_list.0.conv")
            else:
                _, index, conv, kind = rest.split(".")
                name = f"decode_head.conv_list.{int(index) + 1}.conv{conv[-1].upper()}.conv.{kind}"
        else:
            name = f"decode_head.conv_depth.{rest}"
        names[ours] = name
    return names


def official_state(model: DepthFormer) -> dict[str, torch.Tensor]:
    names = official_names(model)
    return {names[name]: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("preset", ["debug", "small"])
def test_save_and_load_round_trip(preset: str, tmp_path: Path) -> None:
    model = create_model(preset)
    path = tmp_path / "new" / "model.safetensors"
    save_checkpoint(path, model)
    loaded = load_checkpoint(path)
    assert loaded.config == model.config
    assert not loaded.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert list(path.parent.iterdir()) == [path]


def test_half_precision_files_load_as_float32(model: DepthFormer, tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    state = {
        name: t.half() if t.is_floating_point() else t for name, t in model.state_dict().items()
    }
    save_file(state, path, {"depthformer_config": json.dumps(model.config.to_dict())})
    weights = load_checkpoint(path).state_dict()
    assert {t.dtype for t in weights.values()} == {torch.float32, torch.int64}


def test_failed_write_leaves_the_old_file(
    model: DepthFormer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, model)
    before = path.read_bytes()

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("depthformer_core.checkpoint.save_file", full_disk)
    with pytest.raises(CheckpointError, match="No space left"):
        save_checkpoint(path, create_model("debug"))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def write(path: Path, state: dict[str, torch.Tensor], config: object) -> Path:
    text = config if isinstance(config, str) else json.dumps(config)
    save_file(state, path, {"depthformer_config": text})
    return path


def bad_files(folder: Path) -> dict[str, tuple[Path, str]]:
    model = create_model("debug")
    state = model.state_dict()
    config = model.config.to_dict()
    whole = folder / "whole.safetensors"
    save_checkpoint(whole, model)
    truncated = folder / "truncated.safetensors"
    truncated.write_bytes(whole.read_bytes()[:-100])
    empty = folder / "empty.safetensors"
    empty.touch()
    text = folder / "text.safetensors"
    text.write_text("not a checkpoint at all" * 10)
    other = folder / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, other)
    torch_file = folder / "model.pth"
    torch.save(state, torch_file)
    without = {name: tensor for name, tensor in state.items() if name != "head.bias"}
    huge = {**config, "embed_dim": 2**20, "hahi_dim": 2**20}
    return {
        "missing": (folder / "nothing.safetensors", "no checkpoint at"),
        "folder": (folder, "no checkpoint at"),
        "truncated": (truncated, "cannot read checkpoint"),
        "empty": (empty, "cannot read checkpoint"),
        "text": (text, "cannot read checkpoint"),
        "other network": (other, "no DepthFormer checkpoint"),
        "pytorch file": (torch_file, "depthformer convert"),
        "bad json": (write(folder / "json.safetensors", state, "{"), "bad configuration"),
        "bad config": (
            write(folder / "config.safetensors", state, {**config, "depths": [1]}),
            "depths must be 4 positive integers",
        ),
        "missing tensor": (
            write(folder / "without.safetensors", without, config),
            "missing tensor head.bias",
        ),
        "unknown tensor": (
            write(folder / "more.safetensors", {**state, "tail": torch.zeros(1)}, config),
            "unknown tensor tail",
        ),
        "misshapen tensor": (
            write(folder / "shape.safetensors", {**state, "head.bias": torch.zeros(2)}, config),
            r"head.bias has shape \(2,\), this network's is \(1,\)",
        ),
        "other architecture": (
            write(folder / "arch.safetensors", state, PRESETS["small"].to_dict()),
            "has shape",
        ),
        # Refused before any memory is taken for what it claims to be.
        "huge claim": (write(folder / "huge.safetensors", state, huge), "has shape"),
    }


@pytest.mark.parametrize(
    "case",
    [
        "missing",
        "folder",
        "truncated",
        "empty",
        "text",
        "other network",
        "pytorch file",
        "bad json",
        "bad config",
        "missing tensor",
        "unknown tensor",
        "misshapen tensor",
        "other architecture",
        "huge claim",
    ],
)
def test_bad_file_is_one_clear_error(case: str, tmp_path: Path) -> None:
    path, message = bad_files(tmp_path)[case]
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_conversion_fills_every_tensor(model: DepthFormer) -> None:
    target = create_model("debug")
    converted = convert_official_state_dict(official_state(model), target)
    target.load_state_dict(converted, strict=True)
    for name, tensor in model.state_dict().items():
        if ".downsample." not in name:
            assert torch.equal(converted[name], tensor), name


def test_merging_inputs_are_reordered() -> None:
    model = create_model("debug")
    official = official_state(model)
    name = "backbone.stages.0.downsample.reduction.weight"
    rows, columns = official[name].shape
    official[name] = torch.arange(columns, dtype=torch.float32).expand(rows, columns).clone()
    ours = convert_official_state_dict(official, model)["swin.layers.1.downsample.reduction.weight"]
    channels = columns // 4
    for column in (0, 1):
        for row in (0, 1):
            for channel in range(channels):
                theirs = channel * 4 + row * 2 + column
                assert ours[0, (column * 2 + row) * channels + channel] == theirs


def test_tables_follow_the_index_of_the_checkpoint() -> None:
    model = create_model("debug")
    official = official_state(model)
    prefix = "backbone.stages.0.blocks.0.attn.w_msa.relative_position_"
    ours = "swin.layers.0.blocks.0.attn.relative_position_"
    table = official[prefix + "bias_table"]
    index = dict(model.named_buffers())[ours + "index"]
    order = torch.randperm(len(table), generator=torch.Generator().manual_seed(0))
    shuffled = torch.empty_like(table)
    shuffled[order] = table
    official[prefix + "bias_table"] = shuffled
    official[prefix + "index"] = order[index]
    converted = convert_official_state_dict(official, model)
    assert torch.equal(converted[ours + "bias_table"], table)

    official[prefix + "index"] = torch.full_like(index, len(table))
    with pytest.raises(CheckpointError, match="points outside its table"):
        convert_official_state_dict(official, model)
    official[prefix + "index"] = torch.arange(index.numel()).view_as(index) % len(table)
    with pytest.raises(CheckpointError, match="no relative position index"):
        convert_official_state_dict(official, model)


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("neck.extra.weight", torch.zeros(1), "unknown tensor neck.extra.weight"),
        ("backbone.stages.7.blocks.0.norm1.weight", torch.zeros(8), "unknown tensor backbone.st"),
        ("neck.level_embed", torch.zeros(3, 8), r"neck.level_embed has shape \(3, 8\)"),
        ("neck.level_embed", None, "missing tensor neck.level_code"),
        ("decode_head.conv_list.9.convA.conv.bias", torch.zeros(1), "unknown tensor decode_head"),
    ],
    ids=["unknown", "other stage", "misshapen", "missing", "other block"],
)
def test_conversion_names_what_does_not_fit(
    model: DepthFormer, name: str, tensor: torch.Tensor | None, message: str
) -> None:
    official = official_state(model)
    if tensor is None:
        del official[name]
    else:
        official[name] = tensor
    with pytest.raises(CheckpointError, match=message):
        convert_official_state_dict(official, model)


def test_official_file_is_read_beside_its_leftovers(model: DepthFormer, tmp_path: Path) -> None:
    state = official_state(model)
    path = tmp_path / "official.pth"
    leftovers = {"meta": {"epoch": 3, "config": "text"}, "optimizer": {"state": {}}}
    torch.save({"state_dict": state, **leftovers}, path)
    assert read_official_checkpoint(path).keys() == state.keys()


class _Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> object:
        return subprocess.call, (["touch", str(self.target)],)


def test_pickled_code_is_refused_and_not_run(model: DepthFormer, tmp_path: Path) -> None:
    target = tmp_path / "was_run"
    path = tmp_path / "evil.pth"
    torch.save({"state_dict": official_state(model), "meta": _Malicious(target)}, path)
    with pytest.raises(CheckpointError, match="pickled code"):
        read_official_checkpoint(path)
    assert not target.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no checkpoint at"),
        (b"", "cannot read checkpoint"),
        (b"PK\x03\x04 broken", "cannot read checkpoint"),
        (b"garbage", "evil|refused|cannot read"),
        ({"weights": {}}, "no state_dict"),
        ({"state_dict": {"a": 3}}, "'a' is no tensor"),
        ([1, 2], "no state_dict"),
    ],
    ids=["missing", "empty", "broken zip", "garbage", "no state", "no tensor", "list"],
)
def test_bad_official_file_is_named(content: object, message: str, tmp_path: Path) -> None:
    path = tmp_path / "official.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_official_checkpoint(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("choice", [{"head": "sigmoid"}, {"upsampling": "convex"}])
def test_another_end_survives_a_checkpoint(choice: dict[str, Any], tmp_path: Path) -> None:
    model = create_model(dataclasses.replace(PRESETS["debug"], **choice))
    save_checkpoint(tmp_path / "model.safetensors", model)
    assert load_checkpoint(tmp_path / "model.safetensors").config == model.config


def test_half_precision_halves_the_file(model: DepthFormer, tmp_path: Path) -> None:
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    save_checkpoint(whole, model)
    save_checkpoint(half, model, half=True)
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    loaded = load_checkpoint(half)
    assert loaded.config == model.config
    for name, tensor in model.state_dict().items():
        back = loaded.state_dict()[name]
        assert back.dtype == tensor.dtype
        torch.testing.assert_close(back, tensor, rtol=1e-3, atol=1e-7)


def test_weight_that_float16_cannot_hold_is_named(model: DepthFormer, tmp_path: Path) -> None:
    with torch.no_grad():
        model.head.weight[0, 0, 0, 0] = 1e5
    with pytest.raises(CheckpointError, match=r"head\.weight has values that float16 cannot hold"):
        save_checkpoint(tmp_path / "half.safetensors", model, half=True)
    assert list(tmp_path.iterdir()) == []
