"""Networks that are replayed as CUDA graphs."""

import threading
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from depthformer_core import DepthPredictor, cuda_graphs
from depthformer_core.cuda_graphs import CudaGraphs


def needs_gpu(test: Callable[..., None]) -> Callable[..., None]:
    absent = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
    marked: Callable[..., None] = pytest.mark.gpu(absent(test))
    return marked


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


@needs_gpu
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


@needs_gpu
def test_flip_reads_both_answers() -> None:
    predictor = DepthPredictor.from_checkpoint(
        "debug", device="cuda", precision="float32", crop="none", flip=True
    )
    image = picture(64, 96)
    depth = predictor.predict(image).depth
    np.testing.assert_allclose(
        depth, predictor.predict(image[:, ::-1].copy()).depth[:, ::-1], rtol=1e-3
    )


@needs_gpu
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


@needs_gpu
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


class Recording:
    """Stands for a graph where there is no GPU: says which shapes are recorded."""

    shapes: list[tuple[int, ...]]
    failure: Exception | None

    def __init__(
        self, function: Callable[[Tensor], Tensor], image: Tensor, *, pool: object
    ) -> None:
        assert pool == "pool"
        if self.failure is not None:
            raise self.failure
        Recording.shapes.append(tuple(image.shape))
        self._function = function

    def replay(self, image: Tensor) -> Tensor:
        return self._function(image)


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> type[Recording]:
    Recording.shapes, Recording.failure = [], None
    monkeypatch.setattr(cuda_graphs, "_Graph", Recording)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: "pool")
    return Recording


def test_the_two_newest_shapes_are_kept(recording: type[Recording]) -> None:
    graphs = CudaGraphs(torch.neg)
    for size in (1, 2, 1, 3, 1, 2, 2):
        image = torch.ones(size)
        assert torch.equal(graphs(image), -image)
    assert recording.shapes == [(1,), (2,), (3,), (2,)]


def test_memory_that_was_full_is_tried_again(recording: type[Recording]) -> None:
    graphs = CudaGraphs(torch.neg)
    recording.failure = torch.cuda.OutOfMemoryError("no memory")
    for _ in range(2):
        with pytest.raises(torch.cuda.OutOfMemoryError):
            graphs(torch.ones(1))
    recording.failure = None
    assert graphs(torch.ones(1)) == -1
    assert recording.shapes == [(1,)]


def test_what_fails_to_be_recorded_is_told_once(recording: type[Recording]) -> None:
    graphs = CudaGraphs(torch.neg)
    error = cuda_graphs._RecordingError()
    error.__cause__ = RuntimeError("operation not permitted\nmore")
    recording.failure = error
    with pytest.warns(RuntimeWarning, match="without a CUDA graph.*: operation not permitted$"):
        assert graphs(torch.ones(1)) == -1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert graphs(torch.ones(1)) == -1
