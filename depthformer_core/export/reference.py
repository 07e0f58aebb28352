"""What PyTorch computes on fixed images, in a form that an exported file holds."""

import base64
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from depthformer_core.errors import DepthFormerError, one_line
from depthformer_core.types import FloatArray, FloatingArray, Rgb

KEY = "depthformer_reference"
"""Name of the reference in the metadata of a file."""

BLOCKS_KEY = "depthformer_blocks"
"""Name of the list of blocks, in the order of computation."""

_STEP = 4  # of the output's rows and columns, so many are skipped
_VALUES = 256  # of a block
_MOST_BYTES = 2**26  # of a decoded reference; ours have 2 MB at most


class BadReferenceError(DepthFormerError):
    """A file has no reference, or one that cannot be read."""


@dataclass(frozen=True)
class Reference:
    """Outputs and blocks of a network on fixed images, by PyTorch.

    Attributes:
        images: By their names, uint8 (H, W, 3), RGB.
        outputs: Some pixels of each output of each image, (images, rows, columns), metres.
        blocks: Some values of each block of each image, (images, values), in the order of
            computation.
    """

    images: Mapping[str, Rgb]
    outputs: Mapping[str, FloatArray]
    blocks: Mapping[str, FloatArray]

    def encode(self) -> str:
        """Return it as a text."""
        arrays: dict[str, FloatingArray | Rgb] = {}
        for name, image in self.images.items():
            _, png = cv2.imencode(".png", image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
            arrays[f"image {name}"] = png
        arrays |= {f"output {name}": values for name, values in self.outputs.items()}
        arrays |= {f"block {name}": values for name, values in self.blocks.items()}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        return base64.b64encode(buffer.getvalue()).decode("ascii")

    @classmethod
    def decode(cls, text: str) -> "Reference":
        """Rebuild it from `encode`.

        Raises:
            BadReferenceError: The text is something else.
        """
        if len(text) > _MOST_BYTES:
            raise BadReferenceError(
                f"the reference in the file has {len(text)} bytes: it is damaged"
            )
        found: dict[str, dict[str, FloatArray]] = {"image": {}, "output": {}, "block": {}}
        try:
            data = io.BytesIO(base64.b64decode(text, validate=True))
            with zipfile.ZipFile(data) as archive:
                size = sum(entry.file_size for entry in archive.infolist())
            if size > _MOST_BYTES:
                raise BadReferenceError(f"the reference in the file unfolds to {size} bytes")
            with np.load(data, allow_pickle=False) as arrays:
                for key in arrays.files:
                    kind, _, name = key.partition(" ")
                    found[kind][name] = arrays[key]
            images = {name: _decode_image(png) for name, png in found["image"].items()}
        except (ValueError, KeyError, OSError, zipfile.BadZipFile, cv2.error) as error:
            raise BadReferenceError(
                f"the reference in the file cannot be read: {one_line(error)}"
            ) from error
        counts = {len(values) for kind in ("output", "block") for values in found[kind].values()}
        if "depth" not in found["output"] or counts != {len(images)}:
            raise BadReferenceError("the reference in the file is not complete")
        return cls(images, found["output"], found["block"])


def output_sample(output: FloatingArray) -> FloatArray:
    """Return the pixels of an output (1, 1, H, W) that a reference holds."""
    return np.asarray(output[0, 0, ::_STEP, ::_STEP], np.float32)


def block_places(size: int) -> npt.NDArray[np.int64]:
    """Return the places of the values of a block that a reference holds, in its flat order."""
    return np.linspace(0, size - 1, min(size, _VALUES)).astype(np.int64)


def block_sample(block: FloatingArray) -> FloatArray:
    """Return the values of a block that a reference holds."""
    flat = block.reshape(-1)
    return np.asarray(flat[block_places(len(flat))], np.float32)


def _decode_image(png: FloatingArray | Rgb) -> Rgb:
    image = cv2.imdecode(png, cv2.IMREAD_COLOR)
    if image is None:
        raise BadReferenceError("an image of the reference in the file cannot be read")
    return np.ascontiguousarray(image[..., ::-1])
