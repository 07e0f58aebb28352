"""Peak rates of a device: of matrix products and of copies of memory."""

import time
from collections.abc import Callable

import torch

# Rows of matrices that are large enough for full speed.
_ROWS = {"cpu": 1536, "cuda": 8192}
# Bytes that are copied in one measurement, by copies of whatever size.
_COPIED = {"cpu": 2**28, "cuda": 2**30}
_REPEATS = 3


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Measure floating-point operations per second of a large matrix product."""
    rows = _ROWS[device.type]
    left, right = (torch.rand(rows, rows, device=device).to(dtype) for _ in range(2))
    return 2 * rows**3 / _fastest(device, lambda: left @ right)


def copy_rate(device: torch.device, size: int) -> float:
    """Measure bytes per second, read and written, of repeated copies of `size` bytes.

    What fits into a cache is copied at the cache's speed.
    """
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    repeats = max(1, _COPIED[device.type] // size)

    def copy() -> None:
        for _ in range(repeats):
            target.copy_(source)

    return 2 * size * repeats / _fastest(device, copy)


def seconds_of(device: torch.device, work: Callable[[], object]) -> float:
    """Time work on a device, seconds; on a GPU by its own clock."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            work()
            end.record()
            end.synchronize()
            return float(begin.elapsed_time(end)) / 1e3
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _fastest(device: torch.device, work: Callable[[], object]) -> float:
    """Return the time of the fastest run, seconds; the first one only warms up."""
    return min([seconds_of(device, work) for _ in range(1 + _REPEATS)][1:])
