"""Networks that are replayed as CUDA graphs."""

import itertools
import threading
import warnings
from collections.abc import Callable, Iterable

import numpy as np
import pytest
import torch
from torch import Tensor

from depthformer_core import DepthPredictor
from depthformer_core.inference import cuda_graphs
from depthformer_core.inference.cuda_graphs import CudaGraphs

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


@pytest.mark.gpu
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


@pytest.mark.gpu
def test_flip_reads_both_predictions() -> None:
    predictor = DepthPredictor.from_checkpoint(
        "debug", device="cuda", precision="float32", crop="none", flip=True
    )
    image = picture(64, 96)
    depth = predictor.predict(image).depth
    np.testing.assert_allclose(
        depth, predictor.predict(image[:, ::-1].copy()).depth[:, ::-1], rtol=1e-3
    )


@pytest.mark.gpu
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


@pytest.mark.gpu
def test_what_cannot_be_captured_runs_with_a_warning() -> None:
    def waiting(image: Tensor) -> Tensor:
        return image * image.sum().item()

    graphs = CudaGraphs(waiting)
    image = torch.ones(3, 4, device="cuda")
    with pytest.warns(RuntimeWarning, match="runs without a CUDA graph, which is slower"):
        assert torch.equal(graphs(image), 12 * image)
    assert torch.equal(graphs(2 * image), 48 * image)
    # The device is none the worse for it.
    assert torch.equal(CudaGraphs(torch.neg)(image), -image)


class FakeGraph:
    """Fake of a graph where there is no GPU: records which shapes are captured."""

    shapes: list[tuple[int, ...]]
    failure: Exception | None

    def __init__(
        self, function: Callable[[Tensor], Tensor], image: Tensor, *, pool: object
    ) -> None:
        assert pool == "pool"
        if self.failure is not None:
            raise self.failure
        FakeGraph.shapes.append(tuple(image.shape))
        self._function = function

    def replay(self, image: Tensor) -> Tensor:
        return self._function(image)


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> type[FakeGraph]:
    FakeGraph.shapes, FakeGraph.failure = [], None
    monkeypatch.setattr(cuda_graphs, "_Graph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: "pool")
    return FakeGraph


def call(graphs: CudaGraphs, sizes: Iterable[int]) -> None:
    for size in sizes:
        image = torch.ones(size)
        assert torch.equal(graphs(image), -image)


def test_the_first_two_shapes_are_captured_once(captured: type[FakeGraph]) -> None:
    call(CudaGraphs(torch.neg), (1, 2, 1, 2, 2, 1))
    assert captured.shapes == [(1,), (2,)]


def test_images_of_many_sizes_do_not_wait_for_graphs(captured: type[FakeGraph]) -> None:
    call(CudaGraphs(torch.neg), itertools.chain.from_iterable([(1, 2, 3, 4, 3, 3)] * 50))
    assert captured.shapes == [(1,), (2,)]


def test_a_camera_that_changes_its_size_gets_a_graph_again(captured: type[FakeGraph]) -> None:
    graphs = CudaGraphs(torch.neg)
    call(graphs, [1, 2, 1, *[3] * 29])
    assert captured.shapes == [(1,), (2,)]
    call(graphs, [3])
    # The second was used longest ago.
    call(graphs, [1, 3, 2])
    assert captured.shapes == [(1,), (2,), (3,)]


def test_memory_that_was_full_is_tried_again(captured: type[FakeGraph]) -> None:
    graphs = CudaGraphs(torch.neg)
    captured.failure = torch.cuda.OutOfMemoryError("no memory")
    for _ in range(2):
        with pytest.raises(torch.cuda.OutOfMemoryError):
            graphs(torch.ones(1))
    captured.failure = None
    assert graphs(torch.ones(1)) == -1
    assert captured.shapes == [(1,)]


def test_what_fails_to_be_captured_is_warned_of_once(captured: type[FakeGraph]) -> None:
    graphs = CudaGraphs(torch.neg)
    error = cuda_graphs._CaptureError()
    error.__cause__ = RuntimeError("operation not permitted\nmore")
    captured.failure = error
    with pytest.warns(RuntimeWarning, match="without a CUDA graph.*: operation not permitted$"):
        assert graphs(torch.ones(1)) == -1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert graphs(torch.ones(1)) == -1
