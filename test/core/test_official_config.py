"""The release's configuration determines the network, and nothing in it is run."""

import dataclasses
from collections.abc import Callable

import pytest
import torch

from depthformer_core import PRESETS, DepthFormer
from depthformer_core.checkpoint import CheckpointError
from depthformer_core.checkpoint.official_config import Shapes, choose_config
from depthformer_core.config import DepthFormerConfig


def official_text(config: DepthFormerConfig, **changes: str) -> str:
    """A configuration as mmcv writes it into a checkpoint, with literals replaced."""
    depths, heads = list(config.depths), list(config.num_heads)
    dims = list(config.feature_dims)
    kitti = config.max_depth > 10
    crop = "    dict(type='KBCrop', depth=False),\n" if kitti else ""
    text = f"""norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='DepthEncoderDecoder',
    pretrained='nfs/checkpoints/swin_large_patch4_window7_224_22k.pth',
    backbone=dict(
        type='DepthFormerSwin',
        embed_dims={config.embed_dim},
        depths={depths},
        num_heads={heads},
        window_size=7,
        drop_path_rate=0.3,
        norm_cfg=dict(type='LN', requires_grad=True)),
    decode_head=dict(
        type='DenseDepthHead',
        in_channels={dims},
        align_corners=True,
        loss_decode=dict(type='SigLoss', valid_mask=True, loss_weight=1.0),
        act_cfg=dict(type='LeakyReLU', inplace=True),
        min_depth=0.001,
        max_depth={config.max_depth:g}),
    train_cfg=dict(),
    neck=dict(
        type='HAHIHeteroNeck',
        positional_encoding=dict(type='SinePositionalEncoding', num_feats={config.hahi_dim // 2}),
        embedding_dim={config.hahi_dim},
        scales=[1, 1, 1, 1, 1]))
dataset_type = '{"KITTIDataset" if kitti else "NYUDataset"}'
img_norm_cfg = dict(
    mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
test_pipeline = [
    dict(type='LoadImageFromFile'),
{crop}    dict(
        type='MultiScaleFlipAug',
        transforms=[dict(
            type='Normalize',
            mean=[123.675, 116.28, 103.53],
            std=[58.395, 57.12, 57.375],
            to_rgb=True)])
]
data = dict(samples_per_gpu=2, train=dict(type='KITTIDataset', pipeline=[], split='a.txt'))
optimizer = dict(lr=-1e-4, paramwise_cfg={{'custom keys': dict(norm=dict(decay_mult=0.0))}})
gpu_ids = range(0, 1)
"""
    for old, new in changes.items():
        assert CHANGES[old] in text, old
        text = text.replace(CHANGES[old], new)
    return text


# What the tests replace.
CHANGES = {
    "act": "'LeakyReLU'",
    "align": "align_corners=True",
    "crop": "'KBCrop', depth=False",
    "dataset": "dataset_type = 'NYUDataset'",
    "depth": "max_depth=10",
    "dim": "embed_dims=96",
    "head": "type='DenseDepthHead',",
    "lower": "min_depth=0.001",
    "mean": "mean=[123.675, 116.28, 103.53]",
    "model": "model = dict",
    "neck": "type='HAHIHeteroNeck',",
    "paths": "drop_path_rate=0.3",
    "rgb": "to_rgb=True",
    "split": "train=dict(type='KITTIDataset'",
}


@pytest.fixture(scope="module")
def shapes(
    official_state: Callable[[DepthFormer], dict[str, torch.Tensor]],
) -> dict[str, Shapes]:
    """Shapes of each preset's tensors by the release's names."""
    result = {}
    for name, config in PRESETS.items():
        with torch.device("meta"):
            state = official_state(DepthFormer(config))
        result[name] = {key: tuple(tensor.shape) for key, tensor in state.items()}
    return result


@pytest.mark.parametrize("name", [name for name in PRESETS if name.startswith("swin")])
def test_presets_are_read_from_the_file(name: str, shapes: dict[str, Shapes]) -> None:
    text = official_text(PRESETS[name])
    assert choose_config(shapes[name], text=text, preset=None) == PRESETS[name]
    assert choose_config(shapes[name], text=text, preset=name) == PRESETS[name]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"head": "type='DenseDepthHead', scale_up=True,"}, {"head": "sigmoid"}),
        ({"depth": "max_depth=8"}, {"max_depth": 8.0}),
        ({"lower": "min_depth=0.5"}, {"min_depth": 0.5}),
        ({"paths": "drop_path_rate=0.1"}, {"drop_path": 0.1}),
        (
            {"paths": "drop_path_rate=0.3, init_cfg=dict(type='TruncNormal', mean=0.0, std=0.02)"},
            {},
        ),
        (
            {"dataset": "dataset_type = 'CustomDepthDataset'"},
            {"focal_length": None, "image_width": None, "image_height": None},
        ),
        ({"dataset": "data_root = 'data'", "split": "test=dict(type='NYUDataset'"}, {}),
        ({"model": "other = model = dict"}, {}),
        ({"act": "'Leaky' 'ReLU'"}, {}),
        ({"model": "import os\nos.system('exit')\nx: int = 3\nmodel = dict"}, {}),
    ],
    ids=[
        "sigmoid",
        "depth",
        "lower",
        "paths",
        "start",
        "data",
        "test",
        "two names",
        "two strings",
        "statements",
    ],
)
def test_what_users_change_is_read(
    changes: dict[str, str], expected: dict[str, object], shapes: dict[str, Shapes]
) -> None:
    text = official_text(PRESETS["swin_tiny_nyu"], **changes)
    config = choose_config(shapes["swin_tiny_nyu"], text=text, preset=None)
    assert config == dataclasses.replace(PRESETS["swin_tiny_nyu"], **expected)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"act": "'ReLU'"}, r"decode_head\.act_cfg\.type 'ReLU': this network computes something"),
        ({"act": "3"}, r"act_cfg\.type 3"),
        ({"act": "'LeakyReLU', negative_slope=0.2"}, r"act_cfg\.negative_slope 0\.2"),
        ({"head": "type='DenseDepthHead', scale_up=flag,"}, r"head\.scale_up an expression"),
        ({"align": "align_corners=False"}, r"decode_head\.align_corners False"),
        ({"align": "train_cfg=dict()"}, r"decode_head\.align_corners False"),
        ({"head": "type='DenseDepthHead', classify=True,"}, r"decode_head\.classify True"),
        ({"neck": "type='HAHIHeteroNeck', cross_att=False,"}, r"neck\.cross_att False"),
        ({"neck": "type='HAHIHeteroNeck', num_points=4,"}, "num_points 4, its tensors 8"),
        ({"dim": "embed_dims=192"}, "embed_dims 192, its tensors 96"),
        ({"depth": "max_depth=None"}, "max_depth None, which is no number"),
        ({"depth": "max_depth=compute()"}, "max_depth .* which is no number"),
        ({"depth": "max_depth=-1"}, "of no DepthFormer: depths must satisfy"),
        ({"mean": "mean=[0.0, 0.0, 0.0]"}, r"normalises images by mean \[0.0, 0.0, 0.0\]"),
        ({"rgb": "to_rgb=False"}, "to_rgb False"),
        ({"model": "model = 3 #"}, "cannot be read"),
        ({"model": "teacher = dict"}, "has no model; name its network by --preset"),
        ({"model": "model = (" + "-" * 100_000 + "1)\nm = dict"}, "cannot be read"),
        ({"model": "x = '" + "a" * 300_000 + "'\nmodel = dict"}, "absurd"),
    ],
    ids=[
        *(
            "relu",
            "activation",
            "slope",
            "perhaps sigmoid",
            "corners",
            "usual corners",
            "classify",
            "attention",
            "points",
        ),
        *("dim", "no depth", "computed depth", "negative depth", "mean", "bgr", "syntax"),
        *("no model", "deep", "long"),
    ],
)
def test_what_ours_does_not_compute_is_refused(
    changes: dict[str, str], message: str, shapes: dict[str, Shapes]
) -> None:
    text = official_text(PRESETS["swin_tiny_nyu"], **changes)
    with pytest.raises(CheckpointError, match=message) as caught:
        choose_config(shapes["swin_tiny_nyu"], text=text, preset=None)
    assert "\n" not in str(caught.value)


def test_another_crop_is_refused(shapes: dict[str, Shapes]) -> None:
    text = official_text(PRESETS["swin_tiny_kitti"], crop="'KBCrop', height=320, width=1024")
    with pytest.raises(CheckpointError, match="crops images to 1024x320"):
        choose_config(shapes["swin_tiny_kitti"], text=text, preset=None)


@pytest.mark.parametrize(
    ("held", "preset", "message"),
    [
        ("swin_large_nyu", "swin_large_kitti", r"max_depth is 10\.0 in the file, 80\.0 in the pre"),
        ("swin_large_kitti", "swin_large_nyu", "crop is kitti in the file, none in the preset"),
        ("swin_tiny_nyu", "swin_large_nyu", "embed_dim is 96 in the file, 192 in the preset"),
    ],
)
def test_preset_that_the_file_contradicts_is_refused(
    held: str, preset: str, message: str, shapes: dict[str, Shapes]
) -> None:
    text = official_text(PRESETS[held])
    with pytest.raises(CheckpointError, match=f"does not hold {preset}: .*{message}"):
        choose_config(shapes[held], text=text, preset=preset)


def test_sigmoid_under_a_preset_is_refused(shapes: dict[str, Shapes]) -> None:
    text = official_text(PRESETS["swin_tiny_nyu"], head="type='DenseDepthHead', scale_up=True,")
    with pytest.raises(CheckpointError, match="head is sigmoid in the file, relu in the preset"):
        choose_config(shapes["swin_tiny_nyu"], text=text, preset="swin_tiny_nyu")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("swin_tiny_nyu", "a Swin-T, .* --preset swin_tiny_kitti or --preset swin_tiny_nyu"),
        ("swin_large_kitti", "a Swin-L, .* --preset swin_large_kitti or --preset swin_large_nyu"),
        ("small", "its tensors are of no preset: embed_dim 32"),
    ],
)
def test_without_configuration_only_the_data_is_missing(
    name: str, message: str, shapes: dict[str, Shapes]
) -> None:
    with pytest.raises(CheckpointError, match=message):
        choose_config(shapes[name], text=None, preset=None)


def test_preset_is_taken_where_the_file_has_no_configuration(shapes: dict[str, Shapes]) -> None:
    for text in (None, "not Python (", "x = 3"):
        config = choose_config(shapes["swin_tiny_nyu"], text=text, preset="swin_tiny_nyu")
        assert config == PRESETS["swin_tiny_nyu"]
    with pytest.raises(ValueError, match="no preset 'huge'"):
        choose_config(shapes["swin_tiny_nyu"], text=None, preset="huge")


@pytest.mark.parametrize(
    ("shapes_", "message"),
    [
        ({}, "missing tensor"),
        ({"backbone.stages.9.blocks.0.norm1.weight": (8,)}, "unknown tensor backbone.stages.9"),
        ({"neck.self_attn.attention_weights.bias": ()}, r"attention_weights.bias has shape \(\)"),
    ],
    ids=["nothing", "stage", "scalar"],
)
def test_other_networks_are_named(shapes_: Shapes, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        choose_config(shapes_, text=None, preset=None)
