"""Distributed training: sums, statistics and gradients over all processes."""

import inspect
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from depthformer_core.distributed import world_size


def sum_over_processes(value: Tensor) -> Tensor:
    """Sum a tensor over all processes; gradients flow to each process's own part."""
    if world_size() == 1:
        return value
    total: Tensor = _Sum.apply(value)
    return total


class _Sum(torch.autograd.Function):
    """All-reduce with a gradient: every process's sum depends on every process's part."""

    @staticmethod
    def forward(_: Any, value: Tensor) -> Tensor:
        return _all_reduce(value)

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return _all_reduce(gradient)


def _all_reduce(value: Tensor) -> Tensor:
    total = value.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total


def share_batch_norm(model: nn.Module) -> None:
    """Copy the running statistics of every BatchNorm from the first process, as the release does.

    All processes have to call this.
    """
    if world_size() == 1:
        return
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for buffer in module.buffers():
                dist.broadcast(buffer, 0)


def distribute(model: nn.Module, device: torch.device) -> nn.Module:
    """Wrap a network so that the gradients of all processes are averaged; alone, return it."""
    if world_size() == 1:
        return model
    # PyTorch renamed it, and warns of the old name.
    known = inspect.signature(DistributedDataParallel).parameters
    name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    settings: dict[str, Any] = {name: False}
    return DistributedDataParallel(
        model,
        device_ids=[device] if device.type == "cuda" else None,
        gradient_as_bucket_view=True,
        **settings,
    )


def synchronise_batch_norm(model: nn.Module, device: torch.device) -> None:
    """Convert every BatchNorm of a network to the statistics of all processes' batches."""
    if world_size() == 1:
        return
    if device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return
    # PyTorch's own knows GPUs only.
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = _SyncBatchNorm


class _SyncBatchNorm(nn.BatchNorm2d):
    """BatchNorm over the batches of all processes, equally large in each."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # the parent's name
        """Normalise (B, C, H, W) over all axes but C, and over processes."""
        if not self.training:
            return super().forward(input)
        axes = (0, 2, 3)
        count = input.numel() // input.shape[1] * world_size()
        values = input.float()
        mean = sum_over_processes(values.sum(axes)) / count
        centred = values - mean.view(1, -1, 1, 1)
        variance = sum_over_processes((centred**2).sum(axes)) / count
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)).to(input.dtype)
