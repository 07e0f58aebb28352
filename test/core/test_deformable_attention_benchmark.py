"""The benchmark of the attention alone: its formulations agree, and a run measures each."""

import pytest
import torch

from depthformer_core.benchmark import attention as benchmark

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 2e-2)], ids=str
)
def test_formulations_agree(dtype: torch.dtype, tolerance: float) -> None:
    inputs = benchmark.draw_inputs(
        [(6, 10)],
        levels=[(4, 600), (2, 3)],
        heads=2,
        points=2,
        dim=8,
        dtype=dtype,
        device=CPU,
    )
    assert inputs.gathered_bytes == 60 * 2 * 2 * 2 * 4 * 8 * dtype.itemsize
    with torch.inference_mode():
        expected, *others = (attend(inputs) for attend in benchmark.baselines(CPU).values())
    for output in others:
        torch.testing.assert_close(output, expected, rtol=tolerance, atol=tolerance)


def test_formulations_agree_on_gradients() -> None:
    inputs = benchmark.draw_inputs(
        [(6, 10)],
        levels=[(4, 6), (2, 3)],
        heads=2,
        points=2,
        dim=8,
        dtype=torch.float32,
        device=CPU,
    )
    expected, *others = (
        differentiate(inputs) for differentiate in benchmark.baselines(CPU, gradients=True).values()
    )
    for gradients in others:
        torch.testing.assert_close(gradients, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("gradients", "ours"), [(False, "portable"), (True, "ours")], ids=["output", "gradients"]
)
def test_a_run_on_the_cpu(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    gradients: bool,
    ours: str,
) -> None:
    for name, value in {
        "_LEVELS": [(8, 8), (4, 4)],
        "_STEM": (16, 16),
        "_CPU_QUERIES": 100,
        "_LARGE_COPY": 2**20,
        "_SMALL_COPY": 2**18,
    }.items():
        monkeypatch.setattr(benchmark, name, value)
    benchmark.run(device="cpu", runs=1, precision="float32", gradients=gradients)
    printed = capsys.readouterr().out
    assert printed.count("| cross |") == len(benchmark.baselines(CPU, gradients=gradients))
    assert "| self |" not in printed
    assert f"| cross | {ours} |" in printed
    assert "ms_deform_attn C++" in printed


@pytest.mark.gpu
def test_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    benchmark.run(device="cuda", runs=1)
    printed = capsys.readouterr().out
    baselines = benchmark.baselines(torch.device("cuda"))
    assert printed.count("| cross |") == printed.count("| self |") == len(baselines)
