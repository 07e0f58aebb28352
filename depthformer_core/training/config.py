"""Configuration of a training run."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from depthformer_core.config import DepthFormerConfig
from depthformer_core.data.augment import Augmentation
from depthformer_core.data.dataset import DepthDataset
from depthformer_core.data.mixed import open_mix
from depthformer_core.data.open import DatasetName, Part, open_dataset
from depthformer_core.errors import DepthFormerError
from depthformer_core.evaluation.protocol import Mask

LossName = Literal["silog", "log_l1"]
"""Loss: the release's, or the mean difference of logarithms; see `losses`."""


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """Images to train on."""

    root: Path | None = None
    """Folder of the dataset; none for `synthetic`, which is generated."""
    name: DatasetName
    """Which dataset it is."""
    split: Path | None = None
    """File that lists the images; every pair under the root without."""
    depth_scale: float | None = None
    """For `folder`: steps of a depth PNG per metre."""
    mix: Path | None = None
    """YAML file that lists several datasets with their weights, instead of a single one."""
    workers: int = 4
    """Processes that read images."""
    cache: Path | None = None
    """Folder that keeps each image as it is before the augmentation, for the later passes and
    runs; none keeps nothing."""

    def __post_init__(self) -> None:
        """Reject a number of processes that cannot be."""
        if self.workers < 0:
            raise DepthFormerError(f"data.workers must not be negative, got {self.workers}")

    def open(self) -> DepthDataset:
        """Find the images.

        Raises:
            ValueError: There are none; the message names what is missing. Or a mix is combined
                with a dataset.
        """
        if self.mix is not None:
            # The name is always there, from the preset.
            for option in ("root", "split", "depth_scale"):
                if (value := getattr(self, option)) is not None:
                    raise DepthFormerError(
                        f"data.{option} {value} cannot be combined with data.mix {self.mix}: its "
                        f"entries have their own {option}"
                    )
            return open_mix(self.mix)
        return open_dataset(
            self.name, self.root, part="train", split=self.split, depth_scale=self.depth_scale
        )


@dataclass(frozen=True, kw_only=True)
class ValidationData:
    """Images to evaluate on while training."""

    every: int = 800
    """Iterations between two evaluations; 0 for none."""
    root: Path | None = None
    """Folder of the dataset; that of the training without."""
    name: DatasetName | None = None
    """Which dataset it is; that of the training without."""
    part: Part = "val"
    """Part of the dataset, where its folders separate parts."""
    split: Path | None = None
    """File that lists the images; every pair under the root without."""
    depth_scale: float | None = None
    """For `folder`: steps of a depth PNG per metre."""
    flip: bool = False
    """Average with the prediction of the mirrored image, as the release does."""
    mask: Literal["auto"] | Mask = "auto"
    """Part of the image where truth counts; auto is the dataset's usual one."""
    max_depth: float | None = None
    """Truth counts up to this depth, metres; the dataset's usual one without."""

    def __post_init__(self) -> None:
        """Reject a number of iterations that cannot be."""
        if self.every < 0:
            raise DepthFormerError(f"val.every must not be negative, got {self.every}")

    @property
    def protocol_changes(self) -> dict[str, Any]:
        """Arguments of `choose_protocol`."""
        return {"mask": self.mask, "max_depth": self.max_depth}

    def open(self, training: TrainingData) -> DepthDataset | None:
        """Find the images, or nothing if no evaluation is wanted.

        Raises:
            ValueError: There are none; the message names what is missing. Or the training has
                several datasets, and none is named to evaluate on.
        """
        if not self.every:
            return None
        if training.mix is not None and self.name != "synthetic":
            missing = [f"val.{key}" for key in ("name", "root") if getattr(self, key) is None]
            if missing:
                raise DepthFormerError(
                    f"{' and '.join(missing)} must name what to evaluate on, since data.mix "
                    "trains on several datasets; or set val.every 0 to train without"
                )
        name = self.name or training.name
        # A generated dataset has no root, though the training may have one.
        inherited = None if name == "synthetic" else training.root
        return open_dataset(
            name,
            self.root or inherited,
            part=self.part,
            split=self.split,
            depth_scale=self.depth_scale,
        )


RENAMED_OPTIMIZATION = {
    "average": "ema_decay",
    "clip": "max_grad_norm",
    "accumulation": "grad_accumulation_steps",
}
"""Names that fields of `Optimization` had in 0.1, understood for one version more."""


@dataclass(frozen=True, kw_only=True)
class Optimization:
    """Optimizer, learning rate and loss."""

    iterations: int = 38_400
    """Steps of the optimizer."""
    batch_size: int = 16
    """Images of a step, over all processes and accumulated parts."""
    grad_accumulation_steps: int = 1
    """Parts a step's images are put through the network in, one after another."""
    lr: float = 1e-4
    """Peak of the cosine that the learning rate follows."""
    warm_up: int = 12_800
    """Iterations over which the learning rate rises to the cosine."""
    weight_decay: float = 0.01
    """AdamW's decay, of all but LayerNorms and relative position tables."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's decay of its running moments."""
    loss: LossName = "silog"
    """Loss: the release's `silog`, or the mean difference of logarithms, `log_l1`."""
    max_grad_norm: float = 35.0
    """Largest norm of the gradient."""
    mean_only: int = 0
    """First iterations with a loss without the variance (100 in the release's `warm_up`)."""
    sync_batch_norm: bool = False
    """Whether BatchNorm takes the statistics of all processes together, instead of each its own."""
    ema_decay: float = 0.0
    """Decay of an EMA of the weights, which is then evaluated and saved; 0 for none."""

    def __post_init__(self) -> None:
        """Reject values no run can be made with."""
        for name in ("iterations", "batch_size", "grad_accumulation_steps", "lr", "max_grad_norm"):
            if not getattr(self, name) > 0:
                raise DepthFormerError(f"optim.{name} must be positive, got {getattr(self, name)}")
        for name in ("warm_up", "weight_decay", "mean_only"):
            if not getattr(self, name) >= 0:
                raise DepthFormerError(
                    f"optim.{name} must not be negative, got {getattr(self, name)}"
                )
        for name, value in (
            ("betas", self.betas[0]),
            ("betas", self.betas[1]),
            ("ema_decay", self.ema_decay),
        ):
            if not 0 <= value < 1:
                raise DepthFormerError(f"optim.{name} must be in [0, 1), got {value}")
        if self.loss not in (names := get_args(LossName)):
            raise DepthFormerError(
                f"optim.loss must be one of {', '.join(names)}, got {self.loss!r}"
            )
        if self.mean_only and self.loss != "silog":
            raise DepthFormerError(f"optim.mean_only belongs to the loss silog, not to {self.loss}")
        if self.batch_size % self.grad_accumulation_steps:
            raise DepthFormerError(
                f"optim.batch_size {self.batch_size} cannot be shared by "
                f"optim.grad_accumulation_steps {self.grad_accumulation_steps}"
            )


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """One training run."""

    model: DepthFormerConfig
    """The network."""
    data: TrainingData
    """Images to train on."""
    augment: Augmentation
    """Their augmentation."""
    val: ValidationData = field(default_factory=ValidationData)
    """Images to evaluate on."""
    optim: Optimization = field(default_factory=Optimization)
    """Optimizer, learning rate and loss."""
    output: Path = field(default_factory=lambda: Path("run"))
    """Folder of the run: weights, state, metrics, TensorBoard."""
    weights: str = "imagenet"
    """Weights to start from: imagenet (the Swin branch, through timm), random, small (those that
    come with the package), or a checkpoint, the official release's too."""
    imagenet: Path | None = None
    """File of the ImageNet weights, where they cannot be fetched."""
    resume: bool = False
    """Go on with the run in the output folder."""
    seed: int = 0
    """Seed of every random draw of the run."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N; under torchrun each process takes its own GPU."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the network; last convolution and loss are float32 always."""
    activation_checkpointing: bool = False
    """Compute activations again in the backward pass, for less memory and more time."""
    save_every: int = 800
    """Iterations between two writes of the state that a run resumes from."""
    keep: int = 0
    """Networks of the last saves that stay in the folder `checkpoints`."""
    compile: bool = False
    """Let torch.compile make kernels for the network, which takes minutes; for GPUs."""
    skip_nonfinite: bool = False
    """Skip a batch with a loss or gradient that is not finite, instead of stopping."""

    def __post_init__(self) -> None:
        """Reject values no run can be made with."""
        if self.seed < 0:
            raise DepthFormerError(f"seed must not be negative, got {self.seed}")
        if self.save_every < 1:
            raise DepthFormerError(f"save_every must be positive, got {self.save_every}")
        if self.keep < 0:
            raise DepthFormerError(f"keep must not be negative, got {self.keep}")

    @property
    def far(self) -> float:
        """Depth that infinity is trained as, metres; 0 where it is ignored.

        `silog` hardly minds a wrong scale, so the sky at the end of the range would draw everything
        else too far; in `log_l1` each pixel stands for itself.
        """
        return self.model.max_depth if self.optim.loss == "log_l1" else 0.0
