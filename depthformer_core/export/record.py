"""The reference of an export: what PyTorch computes on fixed images."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from depthformer_core.export.blocks import watched
from depthformer_core.export.reference import (
    Reference,
    block_places,
    output_sample,
)
from depthformer_core.inference.normalize import normalize
from depthformer_core.models import DepthFormer
from depthformer_core.synthetic import SyntheticDataset, street_camera
from depthformer_core.synthetic.drive import STREET_CAMERA
from depthformer_core.types import FloatArray, Rgb

_STREETS = (0, 5)  # of the generated world's part `test`
_SQUARE = 8  # pixels
_TILE = 64  # columns


def fixed_images(height: int, width: int) -> dict[str, Rgb]:
    """Make the images that every export is compared on.

    Args:
        height: Rows.
        width: Columns.

    Returns:
        By name, uint8 (H, W, 3): two generated streets, noise, and squares of black and white,
        which move the samples of the attention farther than streets do.
    """
    focal = STREET_CAMERA.fx * width / STREET_CAMERA.width
    streets = SyntheticDataset(part="test", camera=street_camera(width, height, focal=focal))
    images = {f"street {index}": streets[index].rgb for index in _STREETS}
    # Repeated along a row, noise takes a tenth of the file.
    noise = np.random.RandomState(0).randint(0, 256, (height, _TILE, 3), np.uint8)
    images["noise"] = np.tile(noise, (1, -(-width // _TILE), 1))[:, :width]
    rows, columns = np.indices((height, width)) // _SQUARE
    squares = ((rows + columns) % 2 * 255)[..., None]
    # Without noise its channels hardly vary, which instance norm makes large: rounding as well.
    images["squares"] = (squares * 0.75 + images["noise"] * 0.25).astype(np.uint8)
    return images


def record(model: DepthFormer, images: Mapping[str, Rgb]) -> Reference:
    """Compute the reference of a network.

    Args:
        model: A frozen network, on the CPU.
        images: By name, uint8 (H, W, 3).
    """
    names = ("depth", "uncertainty")[: 1 + model.config.uncertainty]
    outputs: dict[str, list[FloatArray]] = {name: [] for name in names}
    blocks: dict[str, list[FloatArray]] = {}

    def note(name: str, block: Tensor) -> None:
        # At once: the attention may write its result over its query.
        places = torch.from_numpy(block_places(block.numel()))
        blocks.setdefault(name, []).append(_at(block, places).float().numpy())

    with torch.no_grad(), watched(model, note):
        for rgb in images.values():
            maps = model(normalize(torch.from_numpy(np.ascontiguousarray(rgb)))[None])
            for name, output in zip(names, maps.split(1, dim=1), strict=True):
                outputs[name].append(output_sample(output.numpy()))
    return Reference(
        dict(images),
        {name: np.stack(samples) for name, samples in outputs.items()},
        {name: np.stack(samples) for name, samples in blocks.items()},
    )


def _at(block: Tensor, places: Tensor) -> Tensor:
    """Return the values at places of the flattened block, without flattening a copy of it."""
    index = np.unravel_index(places.numpy(), tuple(block.shape))
    return block[tuple(torch.from_numpy(axis) for axis in index)]
