"""Tensors of the release turned into those of our network."""

from collections.abc import Callable

import pytest
import torch

from depthformer_core import DepthFormer, create_model
from depthformer_core.checkpoint import CheckpointError, convert_official_state_dict

State = Callable[[DepthFormer], dict[str, torch.Tensor]]


@pytest.fixture
def model() -> DepthFormer:
    torch.manual_seed(1)
    return create_model("debug")


def test_conversion_fills_every_tensor(model: DepthFormer, official_state: State) -> None:
    target = create_model("debug")
    converted = convert_official_state_dict(official_state(model), target)
    target.load_state_dict(converted, strict=True)
    for name, tensor in model.state_dict().items():
        if ".downsample." not in name:
            assert torch.equal(converted[name], tensor), name


def test_merging_inputs_are_reordered(official_state: State) -> None:
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


def test_tables_follow_the_index_of_the_checkpoint(official_state: State) -> None:
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
        ("neck.level_embed", None, "missing tensor neck.level_embed"),
        ("decode_head.conv_list.9.convA.conv.bias", torch.zeros(1), "unknown tensor decode_head"),
    ],
    ids=["unknown", "other stage", "misshapen", "missing", "other block"],
)
def test_conversion_names_what_does_not_fit(
    model: DepthFormer, name: str, tensor: torch.Tensor | None, message: str, official_state: State
) -> None:
    official = official_state(model)
    if tensor is None:
        del official[name]
    else:
        official[name] = tensor
    with pytest.raises(CheckpointError, match=message):
        convert_official_state_dict(official, model)
