"""The benchmark of the attention alone: its formulations agree, and it needs a GPU."""

import pytest
import torch

from depthformer_core.ops import benchmark


def test_formulations_agree() -> None:
    inputs = benchmark.draw_inputs(
        [(6, 10)],
        levels=[(4, 6), (2, 3)],
        heads=2,
        points=2,
        dim=8,
        dtype=torch.float32,
        device="cpu",
    )
    assert inputs.gathered_bytes == 60 * 2 * 2 * 2 * 4 * 8 * 4
    with torch.inference_mode():
        expected, *others = (attend(inputs) for attend in benchmark.SIDES.values())
    for output in others:
        torch.testing.assert_close(output, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_refuses_without_a_gpu() -> None:
    with pytest.raises(SystemExit, match="needs a CUDA device, and PyTorch sees none"):
        benchmark.run()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    benchmark.run(runs=1)
    printed = capsys.readouterr().out
    assert printed.count("| cross |") == printed.count("| self |") == len(benchmark.SIDES)
