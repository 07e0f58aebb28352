"""A network, compared with the truth of a data set: several images at once, shared by processes."""

import functools
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TypeVar

from tqdm import tqdm

from depthformer_core.data.dataset import Frames
from depthformer_core.distributed import gather, rank, world_size
from depthformer_core.evaluation.frame import FrameEvaluation, PredictUncertain, evaluate_frame
from depthformer_core.evaluation.protocol import Protocol
from depthformer_core.evaluation.tally import Evaluation, Tally
from depthformer_core.geometry.camera import Camera
from depthformer_core.inference.predictor import DepthPredictor
from depthformer_core.types import FloatArray, Rgb

# More read, predict and compare no faster, and each holds a network's activations on a CPU.
_MOST_THREADS = 4

T = TypeVar("T")


def evaluate_network(
    predictor: DepthPredictor,
    dataset: Frames,
    *,
    protocol: Protocol,
    progress: bool = False,
    keep: int = 0,
) -> Evaluation:
    """Evaluate a network as `evaluate` does, in less time.

    Threads read, predict and compare several images at once. Processes that `torchrun` started
    share the images; all of them have to call this, and get the evaluation of all images.

    Args:
        predictor: The network.
        dataset: Images with truth.
        protocol: Crop, mask and range.
        progress: Whether to show a bar on the terminal.
        keep: Number of worst and of best images to keep, or of first ones if there is nothing to
            compare.

    Raises:
        DepthFormerError: There is no image, or an image cannot be read or has no truth.
    """

    def tally(index: int, result: FrameEvaluation) -> Tally:
        one = Tally(protocol, keep=keep)
        one.add(index, result)
        return one

    whole = Tally(protocol, keep=keep)
    with tqdm(total=len(dataset), unit="image", disable=not progress) as bar:
        for one in map_frames(tally, predictor, dataset, protocol=protocol):
            whole.merge(one)
            # The other processes are about as far.
            bar.update(min(world_size(), bar.total - bar.n))
    first, *others = gather(whole)
    for other in others:
        first.merge(other)
    return first.result()


def map_frames(
    function: Callable[[int, FrameEvaluation], T],
    predictor: DepthPredictor,
    dataset: Frames,
    *,
    protocol: Protocol,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[T]:
    """Apply a function to the evaluation of each image in this process's share of a data set.

    Args:
        function: Takes an image's place in the data set and its evaluation; called by threads.
        predictor: The network.
        dataset: Images with truth.
        protocol: Crop, mask and range.
        stop: Asked before each image whether to end early.

    Yields:
        The results in the images' order.

    Raises:
        DepthFormerError: An image cannot be read or has no truth.
    """
    predict = depth_and_uncertainty(predictor)

    def run(index: int) -> T:
        return function(index, evaluate_frame(predict, dataset[index], protocol=protocol))

    with predictor.network.workers(_MOST_THREADS) as executor:
        waiting: deque[Future[T]] = deque()
        for index in range(rank(), len(dataset), world_size()):
            if stop():
                return
            # Few results wait to be used, since they may hold images.
            if len(waiting) == 2 * _MOST_THREADS:
                yield waiting.popleft().result()
            waiting.append(executor.submit(functools.partial(run, index)))
        while waiting and not stop():
            yield waiting.popleft().result()


def depth_and_uncertainty(predictor: DepthPredictor) -> PredictUncertain:
    """Return a predictor as a function that `evaluate` takes."""

    def predict(rgb: Rgb, camera: Camera | None) -> tuple[FloatArray, FloatArray | None]:
        prediction = predictor.predict(rgb, camera)
        return prediction.depth, prediction.uncertainty

    return predict
