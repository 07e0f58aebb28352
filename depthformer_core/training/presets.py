"""Training runs by name: the release's recipes, and our own for the small networks."""

from dataclasses import replace
from pathlib import Path

from depthformer_core.data.augment import Augmentation
from depthformer_core.errors import DepthFormerError
from depthformer_core.presets import PRESETS
from depthformer_core.training.config import (
    Optimization,
    TrainingConfig,
    TrainingData,
    ValidationData,
)

_KITTI = Augmentation(border="kitti", size=(352, 704))
# Nearly whole images, as in inference: crops 12 rows lower teach another shape of streets.
# KITTI's smallest have this size at the focal length of `small`.
_SMALL = Augmentation(border="none", size=(185, 612))
_NYU = Augmentation(border="nyu", size=(416, 544), brightness=(0.75, 1.25))


RECIPES: dict[str, str] = {
    **{name: name for name in PRESETS},
    # The release's second recipe for KITTI, of its results on the benchmark's server.
    "swin_large_kitti_benchmark": "swin_large_kitti",
}
"""Networks by the names of the recipes they are trained by."""


def training_preset(preset: str, root: Path | None = None) -> TrainingConfig:
    """Return the training of a preset network; change it with `dataclasses.replace`.

    The Swin-L recipes and that of Swin-T on NYU are the release's. Swin-T on KITTI takes those of
    Swin-T and of KITTI together; `small` and `debug` start at random, since there are no ImageNet
    weights of their size.

    Args:
        preset: One of `RECIPES`: the name of a network, or `swin_large_kitti_benchmark`.
        root: Folder of the dataset, unless it is generated.

    Raises:
        DepthFormerError: No recipe has that name.
    """
    if preset not in RECIPES:
        raise DepthFormerError(f"no preset {preset!r}; there are: {', '.join(RECIPES)}")
    network = RECIPES[preset]
    indoors = network.endswith("_nyu")
    config = TrainingConfig(
        model=PRESETS[network],
        data=TrainingData(root=root, name="nyu" if indoors else "kitti_eigen"),
        augment=_NYU if indoors else _KITTI,
        output=Path("runs") / preset,
    )
    if network.startswith("swin"):
        # The release chooses its best network by evaluations with flip, on NYU Swin-T's less often.
        every = 1600 if preset == "swin_tiny_nyu" else 800
        config = replace(config, val=ValidationData(every=every, flip=True))
    if preset == "swin_large_kitti_benchmark":
        return replace(
            config,
            data=replace(config.data, name="kitti_benchmark"),
            augment=replace(_KITTI, color=1.0),
            val=replace(config.val, mask="garg", max_depth=88.0),
        )
    if network.startswith("swin_tiny"):
        return replace(config, optim=Optimization(lr=6e-5))
    if network.startswith("swin_large"):
        return config
    augmentation = _SMALL if preset.startswith("small") else _KITTI
    optim = Optimization(lr=5e-4, warm_up=1_000, loss="log_l1")
    return replace(config, weights="random", augment=augmentation, optim=optim)
