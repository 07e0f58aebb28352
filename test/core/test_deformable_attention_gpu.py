"""The CUDA kernel on a GPU, against the reference."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from depthformer_core.ops import attention_path, fused_deform_attn, ms_deform_attn
from depthformer_core.ops.attention_kernel import find_kernel
from depthformer_core.ops.deformable_attention import ms_deform_attn_reference

pytestmark = pytest.mark.gpu

SHAPES = [(11, 38), (7, 9), (1, 5), (1, 1)]
HEADS, POINTS, DIM = 8, 8, 64
TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
Tensors = list[torch.Tensor]


def draw(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).to("cuda", dtype)


def make_inputs(
    dtype: torch.dtype, *, queries: int = 300, heads: int = HEADS, dim: int = DIM
) -> Tensors:
    """Value, locations and weights."""
    rows = sum(height * width for height, width in SHAPES)
    samples = (2, queries, heads, len(SHAPES), POINTS)
    return [
        draw(2, rows, heads, dim, seed=0, dtype=dtype),
        0.5 + 0.5 * draw(*samples, 2, seed=1),
        draw(*samples, seed=2).flatten(3).softmax(-1).view(samples),
    ]


def make_fused_inputs(dtype: torch.dtype, *, queries: int = 300) -> Tensors:
    """Value, offsets, logits and reference points."""
    samples = HEADS * len(SHAPES) * POINTS
    return [
        make_inputs(dtype, queries=1)[0],
        3 * draw(2, queries, 2 * samples, seed=3, dtype=dtype),
        draw(2, queries, samples, seed=4, dtype=dtype),
        draw(queries, 2, seed=5).sigmoid(),
    ]


def needs_kernel(value: torch.Tensor) -> None:
    if find_kernel(value, SHAPES, queries=1, points=POINTS) is None:
        pytest.fail(attention_path(value.device, value.shape[3]))


def close(actual: torch.Tensor, expected: torch.Tensor, *, name: str = "output") -> None:
    """Within 2e-2 of the largest value in half precision, 2e-4 else."""
    share = 2e-4 if actual.dtype == torch.float32 else 2e-2
    atol = share * float(expected.detach().abs().max())
    torch.testing.assert_close(actual.float(), expected.float(), rtol=share, atol=atol, msg=name)


@pytest.mark.parametrize("dim", [8, 24, 64, 512])
@pytest.mark.parametrize("dtype", TYPES.values(), ids=TYPES)
def test_values_and_gradients_equal_the_reference(dtype: torch.dtype, dim: int) -> None:
    inputs = make_inputs(dtype, heads=3, dim=dim)
    needs_kernel(inputs[0])
    variables = [tensor.clone().requires_grad_() for tensor in inputs]
    exact = [tensor.clone().float().requires_grad_() for tensor in inputs]
    output = ms_deform_attn(variables[0], SHAPES, *variables[1:])
    expected = ms_deform_attn_reference(exact[0], SHAPES, *exact[1:])
    assert output.dtype == dtype
    close(output, expected)
    direction = draw(*output.shape, seed=9, dtype=dtype)
    found = torch.autograd.grad(output, variables, direction)
    wanted = torch.autograd.grad(expected, exact, direction.float())
    names = ("value", "locations", "weights")
    for name, actual, reference in zip(names, found, wanted, strict=True):
        # In half precision, what arrives was rounded.
        close(actual.to(dtype), reference, name=name)


@pytest.mark.parametrize("dtype", TYPES.values(), ids=TYPES)
def test_fused_equals_plain(dtype: torch.dtype) -> None:
    inputs = make_fused_inputs(dtype)
    needs_kernel(inputs[0])
    with torch.inference_mode():
        fused = fused_deform_attn(inputs[0], SHAPES, *inputs[1:])
    exact = [tensor.float() for tensor in inputs]
    plain = fused_deform_attn(exact[0], SHAPES, *exact[1:], attend=ms_deform_attn_reference)
    close(fused, plain)


def test_far_and_nan_samples() -> None:
    value, locations, weights = make_inputs(torch.float16)
    needs_kernel(value)
    expected = ms_deform_attn(value, SHAPES, locations, weights)
    locations[:, 3] = float("nan")
    locations[:, 4] = 1e30
    output = ms_deform_attn(value, SHAPES, locations, weights)
    assert output[:, 3].isnan().all()
    assert not output[:, 4].any()
    kept = torch.arange(output.shape[1], device="cuda") > 4
    assert torch.equal(output[:, kept], expected[:, kept])


def test_inputs_that_are_no_plain_arrays() -> None:
    value, locations, weights = make_inputs(torch.float16)
    needs_kernel(value)
    expected = ms_deform_attn(value, SHAPES, locations, weights)
    spread = torch.empty(*value.shape[:3], DIM + 1, device="cuda", dtype=value.dtype)[..., 1:]
    spread.copy_(value)
    output = ms_deform_attn(spread, SHAPES, locations.double(), weights.double())
    assert torch.equal(output, expected)
    with pytest.raises(ValueError, match="value is on cuda:0, samples on cpu"):
        ms_deform_attn(value, SHAPES, locations.cpu(), weights)


@pytest.mark.parametrize("warm", [True, False], ids=["loaded before", "loaded while captured"])
def test_graphs_replay_it(*, warm: bool) -> None:
    # A configuration of its own, so that it is loaded here.
    queries, dtype = (301, torch.float16) if warm else (302, torch.bfloat16)
    inputs = make_fused_inputs(dtype, queries=queries)
    with torch.inference_mode():
        if warm:
            fused_deform_attn(inputs[0], SHAPES, *inputs[1:])
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            output = fused_deform_attn(inputs[0], SHAPES, *inputs[1:])
        for tensor in inputs:
            tensor.copy_(tensor.flip(0))
        graph.replay()
        expected = fused_deform_attn(inputs[0], SHAPES, *inputs[1:])
    assert torch.equal(output, expected)


def test_other_streams_are_kept_in_order() -> None:
    value, locations, weights = make_inputs(torch.float32)
    needs_kernel(value)
    expected = ms_deform_attn(value, SHAPES, locations, weights)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        doubled = value * 2
        output = ms_deform_attn(doubled, SHAPES, locations, weights)
    stream.synchronize()
    torch.testing.assert_close(output, expected * 2)


def test_torch_compile_sees_through_it() -> None:
    inputs = make_fused_inputs(torch.float16)
    compiled = torch.compile(fused_deform_attn, fullgraph=True)
    with torch.no_grad():
        output = compiled(inputs[0], SHAPES, *inputs[1:])
        expected = fused_deform_attn(inputs[0], SHAPES, *inputs[1:])
    assert torch.equal(output, expected)


IN_A_PROCESS = """
import torch
from depthformer_core.ops import ms_deform_attn
value = torch.ones(1, 6, 2, 64, device="cuda", dtype=torch.float16)
locations = torch.full((1, 1, 2, 1, 1, 2), 0.5, device="cuda")
weights = torch.ones(1, 1, 2, 1, 1, device="cuda")
print(float(ms_deform_attn(value, [(2, 3)], locations, weights).mean()))
"""


def test_processes_that_start_at_once(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", IN_A_PROCESS],
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
            stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    assert [process.communicate()[0].strip() for process in processes] == [b"1.0", b"1.0"]
    assert len(list((tmp_path / "depthformer").iterdir())) == 1


SMALL_CALLS = """
import torch
from depthformer_core.ops import fused_deform_attn, ms_deform_attn
shapes = [(11, 38), (7, 9), (1, 5), (1, 1)]
rows = sum(height * width for height, width in shapes)
for dtype in (torch.float32, torch.float16, torch.bfloat16):
    for dim in (8, 64):
        value = torch.randn(2, rows, 8, dim, device="cuda", dtype=dtype, requires_grad=True)
        samples = (2, 77, 8, len(shapes), 8)
        places = torch.rand(*samples, 2, device="cuda").mul(1.6).sub(0.3).requires_grad_()
        weights = torch.rand(samples, device="cuda").requires_grad_()
        ms_deform_attn(value, shapes, places, weights).float().square().sum().backward()
        with torch.inference_mode():
            fused_deform_attn(
                value.detach(), shapes,
                torch.randn(2, 77, 2 * 8 * 4 * 8, device="cuda", dtype=dtype),
                torch.randn(2, 77, 8 * 4 * 8, device="cuda", dtype=dtype),
                torch.rand(77, 2, device="cuda"),
            )
torch.cuda.synchronize()
"""


def test_no_access_outside_of_its_tensors() -> None:
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None:
        pytest.skip("compute-sanitizer of the CUDA toolkit is not installed")
    command = [sanitizer, "--tool", "memcheck", "--error-exitcode", "9"]
    # A lookup of functions that the driver lacks is no fault of the kernel.
    command += ["--report-api-errors", "no", sys.executable, "-W", "error::RuntimeWarning"]
    checked = subprocess.run([*command, "-c", SMALL_CALLS], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "ERROR SUMMARY: 0 errors" in checked.stdout
