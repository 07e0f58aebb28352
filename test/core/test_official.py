"""The release's checkpoints: every real file is read, and nothing in it is run."""

import dataclasses
import json
import pathlib
import subprocess
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from depthformer_core import PRESETS, DepthFormer, DepthPredictor, create_model
from depthformer_core.checkpoint import (
    CheckpointError,
    convert_official_state_dict,
    load_checkpoint,
    load_official_checkpoint,
    read_official_checkpoint,
    save_checkpoint,
)
from depthformer_core.config import DepthFormerConfig
from depthformer_core.training import training_preset
from depthformer_core.training.start import start_network

State = Callable[[DepthFormer], dict[str, torch.Tensor]]

# The smallest network with the release's eight heads.
TINY = DepthFormerConfig(
    embed_dim=8,
    depths=(1, 1, 2, 1),
    num_heads=(1, 2, 4, 8),
    stem_dim=4,
    hahi_dim=32,
    hahi_points=2,
    max_depth=10.0,
    focal_length=518.8579,
    image_width=640,
    image_height=480,
)
TEXT = """
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='DepthEncoderDecoder',
    pretrained='nfs/checkpoints/swin.pth',
    backbone=dict(
        type='DepthFormerSwin',
        embed_dims=8,
        depths=[1, 1, 2, 1],
        num_heads=[1, 2, 4, 8],
        window_size=7,
        drop_path_rate=0.3),
    decode_head=dict(
        type='DenseDepthHead',
        align_corners=True,
        act_cfg=dict(type='LeakyReLU', inplace=True),
        min_depth=0.001,
        max_depth=10),
    neck=dict(type='HAHIHeteroNeck', embedding_dim=32, num_points=2))
dataset_type = 'NYUDataset'
gpu_ids = range(0, 1)
"""


@pytest.fixture
def model() -> DepthFormer:
    torch.manual_seed(1)
    return create_model("debug")


@pytest.fixture
def tiny() -> DepthFormer:
    torch.manual_seed(2)
    return create_model(TINY)


class Stranger:
    """A class that readers of the file do not have."""

    def __init__(self) -> None:
        self.values = {"a": np.arange(3)}


class Settings(dict[str, Any]):
    """A class like mmcv's ConfigDict."""


def leftovers() -> dict[str, Any]:
    """Content beside the weights, from mmcv's hooks and from users."""
    counts: defaultdict[str, int] = defaultdict(int)
    counts["a"] += 1
    return {
        "meta": {
            "config": TEXT,
            "env_info": "sys.platform: linux",
            "seed": None,
            "exp_name": "depthformer_swint_w7_nyu.py",
            "epoch": 1,
            "iter": 38399,
            "mmcv_version": "1.3.13",
            "hook_msgs": {"best_score": np.float64(0.0516), "last_ckpt": "iter_38400.pth"},
            "scores": np.arange(6.0).reshape(2, 3),
            "single": np.float32(1.5),
            "when": datetime(2022, 3, 30, 17, 5, tzinfo=timezone.utc),
            "work_dir": Path("nfs/saves"),
            "pure": pathlib.PureWindowsPath("C:/saves"),
            "counts": counts,
            "queue": deque([1, 2], maxlen=3),
            "slice": slice(0, 3, None),
            "range": range(2),
            "complex": 1 + 2j,
            "ellipsis": ...,
            "set": {1, 2},
            "type": Stranger,
            "function": subprocess.call,
            "stranger": Stranger(),
            "size": torch.Size([1, 2]),
            "dtype": torch.float16,
            "device": torch.device("cpu"),
        },
        "optimizer": {
            "state": {0: {"step": 3, "exp_avg": torch.zeros(2), "strange": Stranger()}},
            "param_groups": [Settings(lr=1e-4, params=[0])],
        },
    }


def mmcv_state(model: DepthFormer, official_state: State) -> "OrderedDict[str, torch.Tensor]":
    """The state dictionary of a module, with the notes PyTorch keeps beside it."""
    state = OrderedDict(official_state(model))
    state._metadata = OrderedDict({"": {"version": 1}})  # type: ignore[attr-defined]
    return state


def assert_same(loaded: DepthFormer, model: DepthFormer) -> None:
    expected = convert_back(model)
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def convert_back(model: DepthFormer) -> dict[str, torch.Tensor]:
    """A network's tensors, taken for the release's."""
    expected = dict(model.state_dict())
    for name, tensor in expected.items():
        if ".downsample." in name:
            grid = tensor.view(*tensor.shape[:-1], -1, 2, 2)
            expected[name] = grid.transpose(-1, -3).flatten(-3)
    return expected


def test_real_file_is_read(tiny: DepthFormer, official_state: State, tmp_path: Path) -> None:
    path = tmp_path / "best_abs_rel_iter_38400.pth"
    torch.save({"state_dict": mmcv_state(tiny, official_state), **leftovers()}, path)
    loaded = load_official_checkpoint(path)
    assert loaded.config == TINY
    assert not loaded.training
    assert_same(loaded, tiny)
    # Whatever takes a checkpoint takes this one.
    assert load_checkpoint(path).config == TINY
    predictor = DepthPredictor.from_checkpoint(path, device="cpu")
    assert "depthformer convert" in predictor.note
    save_checkpoint(tmp_path / "ours.safetensors", loaded)
    ours = DepthPredictor.from_checkpoint(tmp_path / "ours.safetensors", device="cpu")
    assert not ours.note
    rgb = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(predictor.predict(rgb).depth, ours.predict(rgb).depth)


def test_a_training_starts_from_it(
    tiny: DepthFormer, official_state: State, tmp_path: Path
) -> None:
    path = tmp_path / "official.pth"
    torch.save({"state_dict": official_state(tiny), **leftovers()}, path)
    config = dataclasses.replace(training_preset("debug"), model=TINY, weights=str(path))
    assert_same(start_network(config), tiny)


@pytest.mark.parametrize("wrap", ["state_dict", "model", "bare"])
@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("zipped", [True, False])
def test_weights_are_found(
    wrap: str,
    prefix: str,
    zipped: bool,
    tiny: DepthFormer,
    official_state: State,
    tmp_path: Path,
) -> None:
    state = {prefix + name: tensor for name, tensor in official_state(tiny).items()}
    content = state if wrap == "bare" else {wrap: state, "meta": {"config": TEXT}}
    path = tmp_path / "official.pth"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    if wrap != "bare":
        assert_same(load_official_checkpoint(path), tiny)
    target = create_model(TINY)
    official = read_official_checkpoint(path)
    target.load_state_dict(convert_official_state_dict(official, target), strict=True)
    assert_same(target, tiny)


def test_parameters_views_and_half_precision(
    tiny: DepthFormer, official_state: State, tmp_path: Path
) -> None:
    state: dict[str, Any] = official_state(tiny)
    names = list(state)
    state[names[0]] = torch.nn.Parameter(state[names[0]])
    # A part of a larger storage, in another order.
    large = torch.randn(3, *reversed(state["neck.level_embed"].shape))
    state["neck.level_embed"] = large[1].T
    state["decode_head.conv_depth.bias"] = torch.tensor([1.5], dtype=torch.float16)
    state["decode_head.conv_depth.weight"].attribute = "of a tensor"
    path = tmp_path / "official.pth"
    torch.save({"state_dict": state, "meta": {"config": TEXT}}, path)
    loaded = load_official_checkpoint(path)
    assert torch.equal(loaded.neck.level_embed, large[1].T)
    assert {tensor.dtype for tensor in loaded.parameters()} == {torch.float32}
    assert loaded.head.bias is not None
    assert loaded.head.bias.item() == 1.5
    read = read_official_checkpoint(path)
    assert torch.equal(read[names[0]], state[names[0]])
    assert all(tensor.is_contiguous() for tensor in read.values())


def test_counters_may_be_missing(tiny: DepthFormer, official_state: State, tmp_path: Path) -> None:
    state = official_state(tiny)
    old = {name: t for name, t in state.items() if not name.endswith("num_batches_tracked")}
    assert len(old) < len(state)
    path = tmp_path / "official.pth"
    torch.save({"state_dict": old, "meta": {"config": TEXT}}, path)
    assert_same(load_official_checkpoint(path), tiny)


def test_what_the_teachers_of_tie_kd_never_use_is_left_out(
    tiny: DepthFormer, official_state: State, tmp_path: Path
) -> None:
    state = official_state(tiny)
    state["decode_head.conv_out.0.weight"] = torch.zeros(256, 128, 1, 1)
    state["decode_head.conv_out.0.bias"] = torch.zeros(256)
    path = tmp_path / "teacher.pth"
    torch.save({"state_dict": state, "meta": {"config": TEXT.replace("Head'", "Head_base'")}}, path)
    assert_same(load_official_checkpoint(path), tiny)


def with_averages(model: DepthFormer, official_state: State) -> dict[str, torch.Tensor]:
    """The state as mmcv's EMAHook leaves it: parameters have an average, buffers have none."""
    state = official_state(model)
    ours = dict(zip(state, model.state_dict(), strict=True))
    parameters = dict(model.named_parameters())
    averages = {
        f"ema_{name.replace('.', '_')}": tensor + 1
        for name, tensor in state.items()
        if ours[name] in parameters
    }
    return {**state, **averages}


def test_averages_are_left_out_or_taken(
    tiny: DepthFormer, official_state: State, tmp_path: Path
) -> None:
    path = tmp_path / "official.pth"
    torch.save({"state_dict": with_averages(tiny, official_state), "meta": {"config": TEXT}}, path)
    assert_same(load_official_checkpoint(path), tiny)
    averaged = load_official_checkpoint(path, ema=True)
    expected = convert_back(tiny)
    for name, parameter in averaged.named_parameters():
        assert torch.equal(parameter, expected[name] + 1), name
        del expected[name]
    for name in expected:
        assert torch.equal(averaged.get_buffer(name), expected[name]), name


def test_averages_that_are_not_there_are_missed(
    tiny: DepthFormer, official_state: State, tmp_path: Path
) -> None:
    path = tmp_path / "official.pth"
    torch.save({"state_dict": official_state(tiny)}, path)
    with pytest.raises(CheckpointError, match="holds no EMA weights"):
        load_official_checkpoint(path, ema=True)
    state = {**official_state(tiny), "ema_neck_nothing": torch.zeros(1)}
    torch.save({"state_dict": state}, path)
    with pytest.raises(CheckpointError, match="ema_neck_nothing is the EMA of no weight"):
        load_official_checkpoint(path, ema=True)


@pytest.mark.slow
def test_file_with_everything_equals_the_release(
    parity: Path, fill: ModuleType, tmp_path: Path
) -> None:
    state = {
        name: torch.from_numpy(array)
        for name, array in fill.state_dict(parity / "swint_nyu.json").items()
    }
    text = TEXT
    for ours, theirs in (
        ("embed_dims=8", "embed_dims=96"),
        ("[1, 1, 2, 1]", "[2, 2, 6, 2]"),
        ("[1, 2, 4, 8]", "[3, 6, 12, 24]"),
        ("embedding_dim=32, num_points=2", "embedding_dim=256"),
    ):
        assert ours in text
        text = text.replace(ours, theirs)
    content = leftovers()
    content["meta"]["config"] = text
    path = tmp_path / "iter_38400.pth"
    torch.save({"state_dict": OrderedDict(state), **content}, path)
    model = load_official_checkpoint(path)
    assert model.config == PRESETS["swin_tiny_nyu"]
    with torch.inference_mode(), np.load(parity / "swint_nyu_odd.npz") as recorded:
        case = json.loads((parity / "swint_nyu_odd.json").read_text())
        image = torch.from_numpy(fill.image(**case["input"]))
        difference = np.abs(model(image).numpy() - recorded["depth"]).max()
    assert difference < 1e-3


class _Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> object:
        return subprocess.call, (["touch", str(self.target)],)


@pytest.mark.parametrize("place", ["meta", "optimizer", "state_dict", "top"])
def test_pickled_code_is_not_run(
    place: str, tiny: DepthFormer, official_state: State, tmp_path: Path
) -> None:
    target = tmp_path / "was_run"
    path = tmp_path / "evil.pth"
    content: dict[str, Any] = {"state_dict": official_state(tiny), "meta": {"config": TEXT}}
    if place in ("meta", "optimizer"):
        content.setdefault(place, {})["evil"] = _Malicious(target)
    elif place == "state_dict":
        content[place]["evil"] = _Malicious(target)
    else:
        content["evil"] = _Malicious(target)
    torch.save(content, path)
    if place == "state_dict":
        with pytest.raises(CheckpointError, match="entry 'evil' is no tensor"):
            load_official_checkpoint(path)
    else:
        assert_same(load_official_checkpoint(path), tiny)
    assert not target.exists()
    torch.save(content, path, _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r"before 1\.6 and holds \w+\.call beside"):
        load_official_checkpoint(path)
    assert not target.exists()


def test_weight_that_is_no_number_is_named(
    tiny: DepthFormer, official_state: State, tmp_path: Path
) -> None:
    state = official_state(tiny)
    state["neck.level_embed"][0, 0] = torch.nan
    path = tmp_path / "official.pth"
    torch.save({"state_dict": state, "meta": {"config": TEXT}}, path)
    with pytest.raises(CheckpointError, match=r"neck\.level_embed has values that are not finite"):
        load_official_checkpoint(path)


def test_tensors_that_claim_more_than_the_file_are_refused(tmp_path: Path) -> None:
    one = torch.zeros(1)
    state = {"backbone.conv1.weight": one.expand(2**40).view(2**10, 2**10, 2**10, 2**10)}
    path = tmp_path / "official.pth"
    torch.save({"state_dict": state}, path)
    with pytest.raises(CheckpointError, match="its tensors claim"):
        load_official_checkpoint(path, preset="debug")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no checkpoint at"),
        (b"", "cannot read checkpoint"),
        (b"PK\x03\x04 broken", "cannot read checkpoint"),
        (b"garbage", "it is no file of PyTorch's"),
        (b"\x80\x02garbage", "cannot read checkpoint|holds more than weights"),
        ({"weights": {}}, "no state_dict"),
        ({"state_dict": {"a": 3}}, "'a' is no tensor"),
        ({"state_dict": {3: torch.zeros(1)}}, "entry 3 is no tensor"),
        ({"state_dict": {"\x1b[1m\n": torch.zeros(1)}}, r"entry '.x1b\[1m.n' is no tensor"),
        ({"state_dict": {"a": torch.zeros(1), "module.a": torch.zeros(1)}}, "holds a twice"),
        ([1, 2], "no state_dict"),
    ],
    ids=[
        *("missing", "empty", "broken zip", "garbage", "broken pickle", "no state", "no tensor"),
        *("no name", "odd name", "twice", "list"),
    ],
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
    assert str(caught.value).isprintable()
