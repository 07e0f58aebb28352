"""Several datasets as one."""

from collections.abc import Sequence

import numpy as np

from depthformer_core.data.dataset import DepthDataset, Frame

_MOST_FRAMES = 2**24


class MixedDataset(DepthDataset):
    """Frames of several datasets, mixed for training.

    One pass goes through each dataset at least once; images of those whose weight is larger than
    their number come up several times, augmented anew.

    Args:
        datasets: What is mixed.
        weights: Share of each in every pass, as numbers in the ratio of the shares.

    Raises:
        ValueError: There are no datasets, an empty one, other than one positive weight for each,
            or weights so uneven that a pass would be endless.
    """

    def __init__(self, datasets: Sequence[DepthDataset], weights: Sequence[float]) -> None:
        if not datasets or len(weights) != len(datasets):
            raise ValueError(f"{len(datasets)} datasets need as many weights, got {len(weights)}")
        if not all(0 < weight < np.inf for weight in weights):
            raise ValueError(f"weights must be positive, got {list(weights)}")
        if empty := [dataset.name for dataset in datasets if not len(dataset)]:
            raise ValueError(f"dataset {empty[0]} is empty")
        super().__init__([], name="mixed", depth_format=None)
        passes = max(len(one) / weight for one, weight in zip(datasets, weights, strict=True))
        counts = [round(passes * weight) for weight in weights]
        if sum(counts) > _MOST_FRAMES:
            raise ValueError(
                f"weights {list(weights)} of datasets with {[len(one) for one in datasets]} images "
                f"make a pass of {sum(counts)}: one of them is too small"
            )
        self._datasets = tuple(datasets)
        self._ends = np.cumsum(counts)
        self.files = tuple(
            one.files[place % len(one)]
            for one, count in zip(datasets, counts, strict=True)
            for place in range(count)
        )

    def __len__(self) -> int:
        """Number of frames of a pass."""
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Frame:
        """Read a frame.

        Raises:
            DatasetError: As the dataset it belongs to.
            IndexError: There is no such frame.
        """
        if not 0 <= index < len(self):
            raise IndexError(index)
        which = int(np.searchsorted(self._ends, index, side="right"))
        first = 0 if which == 0 else int(self._ends[which - 1])
        dataset = self._datasets[which]
        return dataset[(index - first) % len(dataset)]

    def check(self, *, progress: bool = False) -> None:
        """Look at every file of every dataset.

        Raises:
            DatasetError: As the datasets.
        """
        for dataset in self._datasets:
            dataset.check(progress=progress)
