"""One iteration of training."""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from depthformer_core.compiling import compile_network
from depthformer_core.device import Precision, cudnn_flags, tf32_products
from depthformer_core.distributed import rank
from depthformer_core.errors import DepthFormerError
from depthformer_core.inference.normalize import normalize
from depthformer_core.models import DepthFormer
from depthformer_core.training.batches import Batch
from depthformer_core.training.config import LossName, Optimization
from depthformer_core.training.distributed import distribute, synchronise_batch_norm
from depthformer_core.training.losses import Loss, silog_loss, training_loss
from depthformer_core.training.optimizer import build_optimizer, learning_rate
from depthformer_core.training.state import Progress, load_state, save_state


class NonFiniteError(DepthFormerError):
    """A loss or gradient is not finite; the message names the batch's images."""


@dataclass(frozen=True)
class Step:
    """Result of an iteration.

    Attributes:
        iteration: Its number, from 1.
        loss: Mean over the accumulated parts.
        gradient_norm: Before clipping.
        lr: Learning rate.
    """

    iteration: int
    loss: float
    gradient_norm: float
    lr: float


class Trainer:
    """Training of a network, step by step.

    Args:
        model: The network; it is moved to the device and put in training mode.
        optim: Optimizer and loss.
        device: Where it runs.
        precision: Precision of the network. On a GPU, float32 products and convolutions round what
            they multiply to TensorFloat-32, the default of the release's PyTorch.
        seed: Seed of dropout and drop path.
        loss: Loss to train with instead of `optim.loss`.
        compile: Whether `torch.compile` makes kernels for the network, in minutes.

    Attributes:
        progress: Progress of the run.
        consistent: Whether weights, optimizer and progress belong together; False only while they
            change; no state is saved then.
    """

    def __init__(
        self,
        model: DepthFormer,
        optim: Optimization,
        *,
        device: torch.device,
        precision: Precision = "float32",
        seed: int = 0,
        loss: Loss | None = None,
        compile: bool = False,
    ) -> None:
        # Convolutions run faster with the channels last.
        self.model = model.to(device).to(memory_format=torch.channels_last).train()
        self.optim = optim
        self.device = device
        self.precision = precision
        self.seed = seed
        self.progress = Progress()
        self.consistent = True
        if optim.sync_batch_norm:
            synchronise_batch_norm(model, device)
        self.optimizer = build_optimizer(
            model, lr=optim.lr, weight_decay=optim.weight_decay, betas=optim.betas
        )
        # Unlike PyTorch's, timm's copies counters and indices instead of averaging them.
        self._ema: ModelEmaV3 | None = None
        if optim.ema_decay:
            self._ema = ModelEmaV3(model, decay=optim.ema_decay)
        self._depth_loss: LossName | Loss = optim.loss if loss is None else loss
        self._distributed = distribute(model, device)
        self._network: Callable[[Tensor], Tensor] = self._distributed
        if compile:
            self._network = compile_network(self._distributed)

    @property
    def _ema_model(self) -> nn.Module | None:
        return None if self._ema is None else self._ema.module

    @property
    def eval_model(self) -> DepthFormer:
        """Network to evaluate and save: the EMA where there is one."""
        if self._ema is None:
            return self.model
        network = self._ema.module
        assert isinstance(network, DepthFormer)
        return network

    @property
    def lr(self) -> float:
        """Learning rate of the next iteration."""
        return learning_rate(
            self.progress.iteration,
            peak=self.optim.lr,
            warm_up=self.optim.warm_up,
            iterations=self.optim.iterations,
        )

    def step(self, batches: Sequence[Batch]) -> Step:
        """Run one iteration.

        An exception while images are processed restores the state before the iteration.

        Args:
            batches: This process's parts of the batch, equally large.

        Raises:
            NonFiniteError: The loss or the gradient is not finite.
        """
        done = self.progress.iteration
        lr = self.lr
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        entropy = np.random.SeedSequence((self.seed, done, rank())).generate_state(1, np.uint64)
        torch.manual_seed(int(entropy[0]))
        statistics = [buffer.clone() for buffer in self.model.buffers()]
        try:
            loss, norm = self._differentiate(batches)
        except BaseException:
            self._restore(statistics)
            raise
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self._restore(statistics)
            raise NonFiniteError(self._describe(batches, loss, norm))
        self.consistent = False
        self.optimizer.step()
        if self._ema is not None:
            # The first step's weights are copied.
            self._ema.update(self.model, step=self.progress.steps + 1)
        self.progress = replace(self.progress, iteration=done + 1, steps=self.progress.steps + 1)
        self.consistent = True
        return Step(iteration=done + 1, loss=loss, gradient_norm=norm, lr=lr)

    def skip(self) -> None:
        """Count an iteration that was skipped."""
        self.progress = replace(self.progress, iteration=self.progress.iteration + 1)

    def record(self, abs_rel: float) -> bool:
        """Record an evaluation's mean AbsRel; return whether it is the run's best.

        NaN, the mean over no image with truth, is no best.
        """
        self.progress = replace(self.progress, evaluated=self.progress.iteration)
        best = self.progress.best
        if math.isnan(abs_rel) or (best is not None and abs_rel >= best):
            return False
        self.progress = replace(self.progress, best=abs_rel)
        return True

    def save(self, path: Path) -> None:
        """Write the state to resume from.

        Raises:
            CheckpointError: It cannot be written.
        """
        save_state(
            path,
            model=self.model,
            ema=self._ema_model,
            optimizer=self.optimizer,
            progress=self.progress,
        )

    def load(self, path: Path) -> None:
        """Resume from a state.

        Raises:
            CheckpointError: It cannot be read or is of another run.
        """
        self.progress = load_state(
            path, model=self.model, ema=self._ema_model, optimizer=self.optimizer
        )

    def _differentiate(self, batches: Sequence[Batch]) -> tuple[float, float]:
        """Compute the clipped gradient of the weights; return loss and norm of the gradient."""
        self.optimizer.zero_grad()
        total = torch.zeros((), device=self.device)
        for part, batch in enumerate(batches, 1):
            with (
                self._gradients_stay(part < len(batches)),
                cudnn_flags(self.device, benchmark=True),
                self._rounded_products(),
            ):
                loss = self._loss(batch) / len(batches)
                loss.backward()
            total += loss.detach()
        norm = clip_grad_norm_(self.model.parameters(), self.optim.max_grad_norm)
        # One synchronisation with the GPU.
        loss_value, norm_value = torch.stack((total, norm)).tolist()
        return loss_value, norm_value

    def _restore(self, statistics: Sequence[Tensor]) -> None:
        """Restore the network's buffers from before a forward pass."""
        for buffer, before in zip(self.model.buffers(), statistics, strict=True):
            buffer.copy_(before)

    def _loss(self, batch: Batch) -> Tensor:
        pixels = batch.pixels.to(self.device, non_blocking=True)
        truth = batch.truth.to(self.device, non_blocking=True)
        half = self.precision == "bfloat16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=half):
            maps = self._network(normalize(pixels))
        if self.progress.iteration < self.optim.mean_only:
            return silog_loss(maps[:, :1], truth, mean_only=True)
        return training_loss(maps, truth, name=self._depth_loss)

    def _rounded_products(self) -> AbstractContextManager[None]:
        # Beside bfloat16, float32 is left to what needs it.
        return tf32_products(self.device) if self.precision == "float32" else nullcontext()

    def _gradients_stay(self, stay: bool) -> AbstractContextManager[None]:
        """Delay the reduction of gradients until the last part."""
        if stay and isinstance(self._distributed, DistributedDataParallel):
            return self._distributed.no_sync()
        return nullcontext()

    def _describe(self, batches: Sequence[Batch], loss: float, norm: float) -> str:
        images = [
            f"{name} ({int((truth > 0).sum())} pixels with truth)"
            for batch in batches
            for name, truth in zip(batch.files, batch.truth, strict=True)
        ]
        return (
            f"iteration {self.progress.iteration + 1}: loss {loss}, gradient norm {norm}; "
            f"the batch's images: {', '.join(images)}"
        )
