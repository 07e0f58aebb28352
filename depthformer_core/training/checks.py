"""Checks of a run before its first iteration."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from depthformer_core.data.augment import Augmentation
from depthformer_core.data.check import check_files
from depthformer_core.data.dataset import DepthDataset
from depthformer_core.data.mixed import MixedDataset
from depthformer_core.distributed import rank, world_size
from depthformer_core.errors import DepthFormerError
from depthformer_core.evaluation.protocol import PROTOCOLS, Protocol, choose_protocol
from depthformer_core.training.batches import Augment, training_sample
from depthformer_core.training.config import TrainingConfig, ValidationData
from depthformer_core.training.description import different_options

_DEEPEST_STRIDE = 32  # pixels of an image for one of the last Swin stage


def images_at_a_time(config: TrainingConfig) -> int:
    """Return the images that each process puts through the network together.

    Raises:
        DepthFormerError: The batch cannot be shared by the processes and accumulated parts.
    """
    optim = config.optim
    shares = world_size() * optim.grad_accumulation_steps
    if optim.batch_size % shares:
        raise DepthFormerError(
            f"optim.batch_size {optim.batch_size} cannot be shared by {world_size()} processes "
            f"with optim.grad_accumulation_steps {optim.grad_accumulation_steps}"
        )
    return optim.batch_size // shares


def check_crop(config: TrainingConfig) -> None:
    """Reject crops that leave BatchNorm a single number for each channel."""
    synchronised = config.optim.sync_batch_norm and world_size() > 1
    alone = images_at_a_time(config) == 1 and not synchronised
    if alone and config.model.norm == "batch" and max(config.augment.size) <= _DEEPEST_STRIDE:
        height, width = config.augment.size
        raise DepthFormerError(
            f"crops of {width}x{height} pixels leave BatchNorm a single pixel at the deepest "
            "stage: take a larger --augment.size, or more images at a time (--optim.batch-size)"
        )


def check_output(folder: Path, state: Path, *, resume: bool) -> None:
    """Reject a folder that holds a run, unless it is resumed; it must hold one then."""
    if resume and not state.exists():
        raise DepthFormerError(f"there is no run to resume in {folder}: {state} is missing")
    if not resume and state.exists():
        raise DepthFormerError(
            f"{folder} holds a run already: go on with it by --resume, or name another --output"
        )


def check_resumed(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Reject other options than the run to be resumed had. It may be lengthened.

    Args:
        folder: Folder of the run.
        before: Its description, from `describe_run`.
        now: Description of the run as it is to go on.
    """
    planned = before["config"]["optim"].get("iterations")
    longer = isinstance(planned, int) and now["config"]["optim"]["iterations"] > planned
    different = different_options(before, now, ignored=("optim.iterations",) if longer else ())
    if different:
        raise DepthFormerError(f"{folder} was begun with other options: {different}")


def check_data(
    config: TrainingConfig,
    dataset: DepthDataset,
    validation: DepthDataset | None,
    *,
    augmentation: Augmentation | Augment,
) -> None:
    """Check every file, and augment an image of each dataset; all processes have to call this.

    Raises:
        DepthFormerError: A file or an image is wrong, or an image to evaluate on is trained on.
    """
    shown = rank() == 0
    check_files(dataset, progress=shown)
    datasets = [dataset]
    if isinstance(dataset, MixedDataset):
        datasets = [part.dataset for part in dataset.parts]
    for one in datasets:
        if not len(one):
            raise DepthFormerError(f"dataset {one.name} is empty")
        training_sample(
            one[0],
            model=config.model,
            augmentation=augmentation,
            far=config.far,
            rng=np.random.default_rng(0),
        )
    if validation is None:
        return
    validation_protocol(config.val, validation)
    check_files(validation, progress=shown)
    shared = _trained_files(config, dataset) & set(validation.files)
    if shared:
        raise DepthFormerError(
            f"{len(shared)} of the {len(validation)} images to evaluate on are trained "
            f"on, such as {min(shared)}: name --val.split FILE, or set --val.every 0 to train "
            "without"
        )


def validation_protocol(options: ValidationData, dataset: DepthDataset) -> Protocol:
    """Return the protocol that a dataset is evaluated by: one of your own as a `folder` is."""
    name = dataset.name if dataset.name in PROTOCOLS else "folder"
    return choose_protocol(name, **options.protocol_changes)


def _trained_files(config: TrainingConfig, dataset: DepthDataset) -> set[str]:
    """Return the names of the training images in the folder of those to evaluate on."""
    folder = config.val.root or config.data.root
    if not isinstance(dataset, MixedDataset):
        return set(dataset.files) if folder == config.data.root else set()
    return {
        file
        for part in dataset.parts
        if _same(config.data.root if part.entry is None else part.entry.root, folder)
        for file in part.dataset.files
    }


def _same(folder: Path | None, other: Path | None) -> bool:
    if folder is None or other is None:
        return folder is other
    return folder.resolve() == other.resolve()
