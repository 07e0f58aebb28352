"""Networks that are replayed as CUDA graphs."""

import threading
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor

from depthformer_core import DepthPredictor
from depthformer_core.cuda_graphs import CudaGraphs

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

# Three sizes, two of which are kept.
SIZES = [(96, 128), (65, 200), (128, 96)]


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def without_graphs(predictor: DepthPredictor) -> DepthPredictor:
    return DepthPredictor(
        predictor.model,
        device="cuda",
        precision=predictor.precision,
        crop=predictor.crop,
        focal=predictor.focal,
    )


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("preset", ["debug", "small"])
def test_replayed_is_as_launched(preset: str, precision: str) -> None:
    predictor = DepthPredictor.from_checkpoint(
        preset, device="cuda", precision=precision, crop="none", focal="none"
    )
    launched = without_graphs(predictor)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        for turn in range(3):
            for size in SIZES:
                image = picture(*size, seed=turn)
                # Both may choose other kernels for their convolutions.
                np.testing.assert_allclose(
                    predictor.predict(image).depth,
                    launched.predict(image).depth,
                    rtol=1e-3 if precision == "float32" else 0.1,
                )
                # What would be overwritten if the graph's constants did not live as long as it.
                torch.full((2**24,), torch.nan, device="cuda")


def test_flip_reads_both_answers() -> None:
    predictor = DepthPredictor.from_checkpoint(
        "debug", device="cuda", precision="float32", crop="none", flip=True
    )
    image = picture(64, 96)
    depth = predictor.predict(image).depth
    np.testing.assert_allclose(
        depth, predictor.predict(image[:, ::-1].copy()).depth[:, ::-1], rtol=1e-3
    )


def test_any_thread_may_replay() -> None:
    predictor = DepthPredictor.from_checkpoint("debug", device="cuda", crop="none")
    images = [picture(64, 96, seed) for seed in range(4)]
    expected = [predictor.predict(image).depth for image in images]
    wrong: list[int] = []

    def predict(index: int) -> None:
        for _ in range(20):
            if not np.array_equal(predictor.predict(images[index]).depth, expected[index]):
                wrong.append(index)

    threads = [threading.Thread(target=predict, args=(index,)) for index in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_what_cannot_be_recorded_runs_and_is_told() -> None:
    def waiting(image: Tensor) -> Tensor:
        return image * image.sum().item()

    graphs = CudaGraphs(waiting)
    image = torch.ones(3, 4, device="cuda")
    with pytest.warns(RuntimeWarning, match="runs without a CUDA graph, which is slower"):
        assert torch.equal(graphs(image), 12 * image)
    assert torch.equal(graphs(2 * image), 48 * image)
    # The device is none the worse for it.
    assert torch.equal(CudaGraphs(torch.neg)(image), -image)
