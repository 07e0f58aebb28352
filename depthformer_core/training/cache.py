"""Training images kept in a folder, so that each is decoded and resized only once."""

import hashlib
import shutil
import zlib
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from depthformer_core.config import DepthFormerConfig
from depthformer_core.data.dataset import DatasetError, DepthDataset
from depthformer_core.data.mixed import MixedDataset
from depthformer_core.errors import warn_once
from depthformer_core.files import replacing
from depthformer_core.training.config import TrainingConfig
from depthformer_core.training.prepared import PreparedFrame, prepare

# Goes up when images are prepared or written in another way.
_VERSION = 1
_HEADER = np.dtype([(name, "<u4") for name in ("crc", "height", "width", "values")])
_CRC = 4  # bytes
_DEPTH = np.dtype("<f4")
# State and log of the run may be on the same disk.
_LEFT_FREE = 5_000_000_000


class ImageCache:
    """Folder of images as `prepare` makes them for one network.

    Each is a file of its own, raw and with a checksum, named after all that decides its content.
    So several processes, runs and networks may share a folder, and what has changed is read anew.

    Args:
        folder: The folder; made where it is missing.
        model: The network.
        far: As of `prepare`.

    Raises:
        DatasetError: The folder cannot be made.
    """

    def __init__(self, folder: Path, *, model: DepthFormerConfig, far: float) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DatasetError(f"cannot make the cache {folder}: {error.strerror}") from error
        self._folder = folder
        self._model = model
        self._far = float(far)

    def read(self, dataset: DepthDataset, index: int) -> PreparedFrame:
        """Read a frame of a dataset from the cache, or else from its files, and keep it.

        A dataset without fingerprints is read from its files each time. Where the folder cannot be
        written to, or its disk is nearly full, a warning says so once, and nothing is kept.

        Raises:
            DatasetError: The frame cannot be read or prepared.
            IndexError: There is no such frame.
        """
        fingerprint = dataset.fingerprint(index)
        if fingerprint is None:
            return prepare(dataset[index], model=self._model, far=self._far)
        path = self._path(fingerprint)
        kept = self._load(path)
        if kept is None:
            kept = prepare(dataset[index], model=self._model, far=self._far)
            self._save(path, kept)
        return kept

    def _path(self, fingerprint: str) -> Path:
        model = self._model
        network = model.focal_length, model.crop, model.image_width, model.image_height
        # Versions of OpenCV decode and resize differently.
        decided = repr((_VERSION, cv2.__version__, fingerprint, network, self._far))
        name = hashlib.sha256(decided.encode()).hexdigest()
        return self._folder / name[:2] / f"{name[2:]}.image"

    def _load(self, path: Path) -> PreparedFrame | None:
        """Read a file of the cache; None where it is missing or damaged."""
        try:
            data = np.fromfile(path, np.uint8)
        except FileNotFoundError:
            return None
        except OSError as error:
            warn_once(f"cannot read the cache {self._folder}: {error.strerror}")
            return None
        frame = _from_bytes(data)
        if frame is None:
            warn_once(f"the cache {self._folder} holds damaged files: they are replaced")
        return frame

    def _save(self, path: Path, frame: PreparedFrame) -> None:
        lost = "images that are not in it are read from their own files in each pass"
        try:
            if shutil.disk_usage(self._folder).free < _LEFT_FREE:
                left = f"less than {_shown(_LEFT_FREE)} free"
                warn_once(f"the disk of the cache {self._folder} has {left}: {lost}")
                return
            with replacing(path) as temporary:
                temporary.write_bytes(_to_bytes(frame).data)
        except OSError as error:
            warn_once(f"cannot write to the cache {self._folder}: {error.strerror}: {lost}")


def cache_note(config: TrainingConfig, dataset: DepthDataset) -> str:
    """Describe how large the cache of a run gets, to end a line of the log; empty without one.

    Args:
        config: The run.
        dataset: Images it is trained on.

    Raises:
        DatasetError: The folder of the cache cannot be made, or an image cannot be read.
    """
    folder, far = config.data.cache, config.far
    if folder is None:
        return ""
    ImageCache(folder, model=config.model, far=far)
    datasets = [dataset]
    if isinstance(dataset, MixedDataset):
        datasets = [part.dataset for part in dataset.parts]
    kept = [part for part in datasets if part.fingerprint(0) is not None]
    frames = [prepare(part[0], model=config.model, far=far) for part in kept]
    size = sum(len(part) * _to_bytes(frame).size for part, frame in zip(kept, frames, strict=True))
    images = sum(map(len, kept))
    others = sum(map(len, datasets)) - images
    return (
        f"; cache {folder}: about {_shown(size)} when all {images} images are in it, "
        f"{_shown(shutil.disk_usage(folder).free)} are free"
        + (f"; {others} other images cannot be kept" if others else "")
    )


def _shown(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _to_bytes(frame: PreparedFrame) -> npt.NDArray[np.uint8]:
    """Lay out a frame for a file: header, depth, image, name.

    Of sparse depth, such as a LiDAR's, there are the values that are not 0, and a bit for each
    pixel that tells where they belong.
    """
    depth = np.ascontiguousarray(frame.depth, _DEPTH)
    known = depth.view("<u4") != 0  # unlike a comparison of depths, it tells 0 from -0
    places: npt.NDArray[np.uint8] = np.empty(0, np.uint8)
    if np.count_nonzero(known) < depth.size // 2:
        depth, places = depth[known], np.packbits(known)
    header = np.zeros(1, _HEADER)
    header[0] = (0, *frame.depth.shape, depth.size)
    name = np.frombuffer(frame.file.encode("utf-8", "surrogatepass"), np.uint8)
    image = np.ascontiguousarray(frame.rgb).ravel()
    parts = (header.view(np.uint8), depth.ravel().view(np.uint8), places, image, name)
    data = np.concatenate(parts)
    data[:_CRC].view("<u4")[0] = zlib.crc32(data[_CRC:].data)
    return data


def _from_bytes(data: npt.NDArray[np.uint8]) -> PreparedFrame | None:
    """Return the frame that `_to_bytes` laid out; None where the checksum is wrong."""
    if data.size < _HEADER.itemsize or data[:_CRC].view("<u4")[0] != zlib.crc32(data[_CRC:].data):
        return None
    _, height, width, count = data[: _HEADER.itemsize].view(_HEADER)[0].tolist()
    pixels = height * width
    sparse = count < pixels
    lengths = _HEADER.itemsize, count * _DEPTH.itemsize, -(-pixels // 8) * sparse, 3 * pixels
    _, values, places, image, name = np.split(data, np.cumsum(lengths))
    depth = values.view(_DEPTH)
    if sparse:
        depth = np.zeros(pixels, _DEPTH)
        # Placed by their numbers, values take half the time of a mask.
        known = np.unpackbits(places, count=pixels).view(bool)
        depth[np.flatnonzero(known)] = values.view(_DEPTH)
    return PreparedFrame(
        name.tobytes().decode("utf-8", "surrogatepass"),
        image.reshape(height, width, 3),
        depth.reshape(height, width).astype(np.float32, copy=False),
    )
