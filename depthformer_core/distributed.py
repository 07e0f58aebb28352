"""Processes that `torchrun` started to work together."""

import contextlib
import os
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from depthformer_core.errors import DepthFormerError, one_line

_TIMEOUT = timedelta(minutes=30)  # rank 0 writes files while the others wait

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


def rank() -> int:
    """Return the rank of this process, 0 where there is one alone."""
    if not _joined():
        return 0
    import torch.distributed as dist

    return dist.get_rank()


def world_size() -> int:
    """Return the number of processes, 1 where there is one alone."""
    if not _joined():
        return 1
    import torch.distributed as dist

    return dist.get_world_size()


def local_rank() -> int:
    """Return the rank among the processes of this machine, 0 where there is one alone."""
    return int(os.environ.get("LOCAL_RANK", "0")) if _joined() else 0


def under_torchrun() -> bool:
    """Return whether `torchrun` started this process."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


@contextlib.contextmanager
def process_group(device: "torch.device") -> "Iterator[torch.device]":
    """Join the processes that `torchrun` started; alone, do nothing.

    Args:
        device: Where the network runs: each process takes the GPU of its local rank if CUDA.

    Yields:
        The device of this process.

    Raises:
        DepthFormerError: There are more processes than GPUs, or they cannot be joined.
    """
    if not under_torchrun():
        yield device
        return
    import torch
    import torch.distributed as dist

    if device.type == "cuda":
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if local >= torch.cuda.device_count():
            raise DepthFormerError(
                f"process {local} of this machine has no GPU: PyTorch sees "
                f"{torch.cuda.device_count()}; start fewer with torchrun --nproc-per-node"
            )
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    # Control messages go over gloo, which does not make the GPU wait.
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        dist.init_process_group(backend, timeout=_TIMEOUT)
    except ValueError as error:
        raise DepthFormerError(
            f"cannot join the other processes: {one_line(error)}; start them with torchrun"
        ) from error
    try:
        yield device
    finally:
        dist.destroy_process_group()


def any_process(flag: bool) -> bool:
    """Return whether a flag is set in any process; all of them have to call this."""
    if world_size() == 1:
        return flag
    import torch
    import torch.distributed as dist

    flags = torch.tensor(int(flag))
    dist.all_reduce(flags, dist.ReduceOp.MAX)
    return bool(flags)


def gather(value: T) -> list[T]:
    """Return the values of all processes, by rank; all of them have to call this.

    Args:
        value: This process's own, of any picklable type.
    """
    if world_size() == 1:
        return [value]
    import torch.distributed as dist

    values: list[T | None] = [None] * world_size()
    dist.all_gather_object(values, value)
    return [one for one in values if one is not None]


def _joined() -> bool:
    """Return whether this process has joined others; without PyTorch it cannot have."""
    if "torch.distributed" not in sys.modules:
        return False
    import torch.distributed as dist

    return dist.is_initialized()
