"""The report of a run: its last evaluation, with the curves of the training."""

import torch

from depthformer_core.data.dataset import DepthDataset
from depthformer_core.data.split import describe_frames
from depthformer_core.evaluation.output import provenance, write_evaluation
from depthformer_core.evaluation.tally import Evaluation
from depthformer_core.training.config import TrainingConfig
from depthformer_core.training.log import read_curves


def write_run_report(
    config: TrainingConfig,
    evaluation: Evaluation,
    *,
    training: DepthDataset,
    validation: DepthDataset,
    device: torch.device,
) -> list[str]:
    """Write `report.html`, `results.json` and `per_image.csv` to the folder of a run.

    Args:
        config: The run.
        evaluation: Evaluation of the network that it ended with.
        training: Images it was trained on.
        validation: Images of the evaluation.
        device: Where it ran.

    Returns:
        Names of the files.

    Raises:
        OSError: A file cannot be written.
    """
    root = config.val.root or config.data.root
    optim = config.optim
    about = {
        "Checkpoint": str(config.output / "model.safetensors"),
        "Training": f"{optim.iterations} iterations of {optim.batch_size} images, from "
        f"{config.weights} weights; {len(training)} images of {training.name}",
        "Data": f"{validation.name}, {root}" if root else validation.name,
        "Images": f"{config.val.split or config.val.part}: "
        f"{describe_frames(len(validation), config.val.split)}",
        "Flip": "mean with the mirrored image" if config.val.flip else "no",
        "Device": f"{device}, float32",
        **provenance(),
    }
    curves = read_curves(config.output)
    warnings = [*validation.notes, *evaluation.warnings()]
    return write_evaluation(
        config.output, evaluation, about=about, warnings=warnings, curves=curves
    )
