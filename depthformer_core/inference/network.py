"""Networks as a predictor sees them, whatever runs them."""

import contextlib
import gc
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Protocol

from depthformer_core.config import DepthFormerConfig
from depthformer_core.types import FloatArray, Rgb


class Device(Protocol):
    """Where a network runs, as `torch.device` describes it; its text is how options name it."""

    @property
    def type(self) -> str:
        """Kind of device: `cpu`, `cuda`, ..."""

    @property
    def index(self) -> int | None:
        """Number of the device among those of its kind; None for the first."""


class Network(ABC):
    """A network on a device, from the pixels of an image to maps of it.

    Attributes:
        config: Architecture and depth range.
        device: Where it runs.
        precision: Number format of its computation: float32, float16 or bfloat16.
        size: Height and width of the only images that it reads, pixels; None for any.
        memory_errors: Exceptions of `run` that mean that the device's memory does not suffice.
        origin: Of an exported network, what it was made from: a preset, or the name of a file.
        weights_sha256: Of an exported network, SHA-256 of that file.
    """

    config: DepthFormerConfig
    device: Device
    precision: str
    size: tuple[int, int] | None = None
    memory_errors: tuple[type[Exception], ...] = ()
    origin: str = ""
    weights_sha256: str = ""

    @property
    @abstractmethod
    def attention(self) -> str:
        """Implementation of its deformable attention, in words."""

    @property
    @abstractmethod
    def parameter_count(self) -> int:
        """Number of its weights."""

    @abstractmethod
    def run(self, pixels: Rgb) -> FloatArray:
        """Predict the depth of an image; several threads may call this.

        Args:
            pixels: uint8 (H, W, 3), RGB.

        Returns:
            Depth and, of a network with `uncertainty`, its scale: float32 (1 or 2, H, W), metres.

        Raises:
            RuntimeError: The device fails.
        """

    def works(self) -> bool:
        """Return whether the device works: after some errors a GPU fails until its process ends."""
        return True

    @staticmethod
    def free_memory() -> None:
        """Free memory that a network no longer uses."""
        gc.collect()

    @contextlib.contextmanager
    def workers(self, most: int) -> Iterator[Executor]:
        """Start threads that predict.

        Args:
            most: Number of threads at most.
        """
        executor = ThreadPoolExecutor(most)
        try:
            yield executor
        finally:
            executor.shutdown(cancel_futures=True)
