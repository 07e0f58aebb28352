"""The command `depthformer convert`."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from commands import fail

from depthformer_core import PRESETS, DepthFormer, create_model
from depthformer_core.checkpoint import load_checkpoint, save_checkpoint
from depthformer_core.cli import main

State = Callable[[DepthFormer], dict[str, torch.Tensor]]


def run(*arguments: object) -> None:
    main([str(argument) for argument in arguments])


def test_convert_writes_a_loadable_checkpoint(
    official_state: State, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = create_model("debug")
    official, output = tmp_path / "official.pth", tmp_path / "out.safetensors"
    torch.save({"state_dict": official_state(model)}, official)
    run("convert", official, output, "--preset", "debug")
    captured = capsys.readouterr()
    assert "depth up to 80 m, crop kitti, relu at the end" in captured.out
    assert "holds no configuration" in captured.err
    assert load_checkpoint(output).config == model.config


def test_convert_says_what_it_left_out(
    official_state: State, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = official_state(create_model("debug"))
    state["ema_decode_head_conv_depth_bias"] = torch.tensor([2.5])
    official, output = tmp_path / "official.pth", tmp_path / "out.safetensors"
    torch.save({"state_dict": state}, official)
    for options, bias in (((), 10.0), (("--ema",), 2.5)):
        run("convert", official, output, "--preset", "debug", *options)
        assert ("Left out 1 moving averages" in capsys.readouterr().err) == (not options)
        head = load_checkpoint(output).head
        assert head.bias is not None
        assert head.bias.item() == bias


def test_convert_fails_in_one_line(tmp_path: Path) -> None:
    official, output = tmp_path / "official.pth", tmp_path / "out.safetensors"
    torch.save({"state_dict": {"backbone.conv1.weight": torch.zeros(4, 3, 7, 7)}}, official)
    assert "missing tensor" in fail("convert", official, output, "--preset", "debug")
    assert "missing tensor" in fail("convert", official, output)
    assert "no preset 'huge'" in fail("convert", official, output, "--preset", "huge")
    assert "no checkpoint at" in fail("convert", tmp_path / "x.pth", output)
    assert "no EMA weights" in fail("convert", official, output, "--ema")
    wrong = tmp_path / "out.pth"
    assert ".safetensors" in fail("convert", official, wrong, "--preset", "debug")
    assert [path.name for path in tmp_path.iterdir()] == ["official.pth"]


def test_convert_halves_ours(tmp_path: Path) -> None:
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    save_checkpoint(whole, create_model("debug"))
    run("convert", whole, half, "--half")
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    assert load_checkpoint(half).config == PRESETS["debug"]
    assert "leave --preset small out" in fail("convert", whole, half, "--preset", "small")
    assert "leave --ema out" in fail("convert", whole, half, "--ema")
