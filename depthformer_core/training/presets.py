"""Training runs by name: the release's recipes, and our own for the small networks."""

from dataclasses import replace
from pathlib import Path

from depthformer_core.data.augment import Augmentation
from depthformer_core.presets import PRESETS
from depthformer_core.training.config import Optimization, TrainingConfig, TrainingData

_KITTI = Augmentation(border="kitti", size=(352, 704))
_SMALL = Augmentation(border="none", size=(176, 608))
_NYU = Augmentation(border="nyu", size=(416, 544), brightness=(0.75, 1.25))


def training_preset(preset: str, root: Path | None = None) -> TrainingConfig:
    """Describe the training of a preset network, to be changed with `dataclasses.replace`.

    The Swin-L recipes and that of Swin-T on NYU are the release's. Swin-T on KITTI takes those of
    Swin-T and of KITTI together; `small` and `debug` start at random, since nobody has ImageNet
    weights of their size.

    Args:
        preset: Name of the network.
        root: Folder of the dataset, unless it is generated.

    Raises:
        ValueError: No preset has that name.
    """
    if preset not in PRESETS:
        raise ValueError(f"no preset {preset!r}; there are: {', '.join(PRESETS)}")
    model = PRESETS[preset]
    indoors = preset.endswith("_nyu")
    config = TrainingConfig(
        model=model,
        data=TrainingData(root=root, name="nyu" if indoors else "kitti_eigen"),
        augment=_NYU if indoors else _KITTI,
        output=Path("runs") / preset,
    )
    if preset.startswith("swin_tiny"):
        return replace(config, optim=Optimization(lr=6e-5))
    if preset.startswith("swin_large"):
        return config
    augmentation = _SMALL if preset == "small" else _KITTI
    optim = Optimization(lr=5e-4, warm_up=1_000, loss="log_l1")
    return replace(config, weights="random", augment=augmentation, optim=optim)
