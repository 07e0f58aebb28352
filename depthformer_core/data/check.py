"""Check of a data set's files before long work."""

from depthformer_core.data.dataset import DatasetError, DepthDataset
from depthformer_core.distributed import any_process, local_rank
from depthformer_core.errors import DepthFormerError


def check_files(dataset: DepthDataset, *, progress: bool = False) -> None:
    """Check every file, once on each machine: its first process does; all have to call this.

    Args:
        dataset: The data set.
        progress: Whether to show a bar on the terminal of that process.

    Raises:
        DatasetError: A file is missing or of the wrong type, here or for another process.
    """
    failure: DepthFormerError | None = None
    if local_rank() == 0:
        try:
            dataset.check(progress=progress)
        except DepthFormerError as error:
            failure = error
    failed = any_process(failure is not None)
    if failure is not None:
        raise failure
    if failed:
        raise DatasetError(f"{dataset.name} is not as it should be: see the error of process 0")
