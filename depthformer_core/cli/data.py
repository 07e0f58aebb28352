"""Options that choose a data set."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from depthformer_core.config import DepthFormerConfig
from depthformer_core.data.dataset import DepthDataset
from depthformer_core.data.open import DatasetName, Part, open_dataset

# Farthest depth of networks for rooms, metres.
_INDOORS = 10.0


@dataclass(frozen=True)
class DataOptions:
    """Images and their true depth."""

    root: Path | None = None
    """Folder that holds the data set; none for synthetic, which is generated."""
    name: DatasetName | Literal["auto"] = "auto"
    """Kind of data set; auto is nyu for networks of up to 10 m, else kitti_eigen."""
    part: Part = "test"
    """Part of the data set, where it has parts."""
    split: Path | None = None
    """List of the images, one 'image depth [focal]' a line; without it, all there are."""
    depth_scale: float | None = None
    """For a folder: what its 16-bit depth is divided by. 1000 for millimetres, 256 for KITTI."""

    def resolve_name(self, config: DepthFormerConfig) -> DatasetName:
        """Kind of data set for a network."""
        if self.name != "auto":
            return self.name
        return "kitti_eigen" if config.max_depth > _INDOORS else "nyu"

    def open(self, config: DepthFormerConfig) -> DepthDataset:
        """Open the data set for a network, every file checked.

        Of several processes, all have to call this.

        Raises:
            DatasetError: Something of it is missing or wrong.
        """
        from depthformer_core.data.check import check_files

        dataset = open_dataset(
            self.resolve_name(config),
            self.root,
            part=self.part,
            split=self.split,
            depth_scale=self.depth_scale,
        )
        check_files(dataset)
        return dataset
