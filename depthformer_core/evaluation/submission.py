"""Files for KITTI's depth prediction server."""

import zipfile
from pathlib import Path

import numpy as np
from tqdm import tqdm

from depthformer_core.data.images import LARGEST_STEP, write_depth_png
from depthformer_core.errors import DepthFormerError
from depthformer_core.evaluation.evaluate import Frames, Predict, check_prediction
from depthformer_core.files import replacing
from depthformer_core.paths import printable
from depthformer_core.types import FloatingArray

_STEPS_PER_METRE = 256
_ARCHIVE = "submission.zip"


def write_submission(
    predict: Predict, dataset: Frames, folder: str | Path, *, progress: bool = False
) -> Path:
    """Write an archive for KITTI's depth prediction server.

    Args:
        predict: As in `evaluate`; there must be a prediction for every pixel.
        dataset: The images of the test set, with or without truth.
        folder: Folder of the archive and of its files: a 16-bit PNG for each image (metres times
            256, under the image's name). An earlier archive is removed first.
        progress: Whether to show a bar on the terminal.

    Returns:
        The archive, with the PNGs at its root.

    Raises:
        DepthFormerError: There is no image, two images have one name, or a prediction has a wrong
            type or shape, is missing for some pixel, or does not fit into 16 bits.
        OSError: A file cannot be written.
    """
    if not len(dataset):
        raise DepthFormerError("there is no image to submit")
    folder = Path(folder)
    archive = folder / _ARCHIVE
    archive.unlink(missing_ok=True)
    written: dict[str, str] = {}
    for index in tqdm(range(len(dataset)), unit="image", disable=not progress):
        frame = dataset[index]
        name = Path(frame.file).with_suffix(".png").name
        if name in written:
            raise DepthFormerError(
                f"{written[name]} and {frame.file} would both be submitted as {name}"
            )
        depth = predict(frame.rgb, frame.camera)
        check_prediction(depth, shape=frame.rgb.shape[:2], file=frame.file)
        _check_dense(depth, file=frame.file)
        write_depth_png(folder / name, depth, scale=_STEPS_PER_METRE)
        written[name] = frame.file
    # Stored as they are: PNG files do not shrink further. A clock before 1980 is no reason to fail.
    with (
        replacing(archive) as temporary,
        zipfile.ZipFile(temporary, "w", strict_timestamps=False) as files,
    ):
        for name in written:
            files.write(folder / name, printable(name))
    return archive


def _check_dense(depth: FloatingArray, *, file: str) -> None:
    steps = np.rint(depth.astype(np.float64) * _STEPS_PER_METRE)
    wrong = ~(np.isfinite(steps) & (steps >= 1) & (steps <= LARGEST_STEP))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise DepthFormerError(
            f"the prediction of {file} has {wrong.sum()} pixels that the server cannot take: it "
            f"needs {1 / _STEPS_PER_METRE:.4f} to {LARGEST_STEP / _STEPS_PER_METRE:.3f} m "
            f"everywhere, row {row}, column {column} has {depth[row, column]}"
        )
