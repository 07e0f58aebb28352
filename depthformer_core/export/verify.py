"""Comparison of an exported file with what PyTorch computed; PyTorch is not needed."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from depthformer_core.errors import DepthFormerError
from depthformer_core.export.reference import (
    BLOCKS_KEY,
    KEY,
    BadReferenceError,
    Reference,
    block_sample,
    output_sample,
)
from depthformer_core.inference.exported_network import NORMALIZATION, PRECISION
from depthformer_core.inference.sessions import Session
from depthformer_core.types import FloatArray, Rgb

Opener = Callable[[Sequence[str]], Session]
"""Opens a file, with the values of those names as outputs too."""

# Of float32: metres, and the share of the depth that rounding takes. PyTorch's own rounding of
# `small`, against float64, is 0.8 mm at 80 m.
_METRES, _ROUNDING = 1e-3, 1e-5
_SHARE = 0.01  # of float16: mean of the difference over the depth
# Of a block's deviation: rounding stays below, an operator that computes something else does not.
_BLOCK_TOLERANCES = {"float32": 2e-3, "float16": 0.2}


class VerificationError(DepthFormerError):
    """An exported file computes something else than PyTorch."""


@dataclass(frozen=True)
class Description:
    """What a file says of itself, for its comparison.

    Attributes:
        precision: float32 or float16.
        mean: Of pixels of 0-255, (3,).
        std: Their deviation, (3,).
        blocks: Names of its blocks, in the order of computation.
        reference: What PyTorch computed.
    """

    precision: str
    mean: FloatArray
    std: FloatArray
    blocks: tuple[str, ...]
    reference: Reference

    @classmethod
    def of(cls, metadata: Mapping[str, str]) -> "Description":
        """Read the metadata of a file.

        Raises:
            BadReferenceError: It has no reference, or a damaged one.
        """
        for key in (KEY, BLOCKS_KEY, NORMALIZATION, PRECISION):
            if key not in metadata:
                raise BadReferenceError(
                    f"the file holds nothing to compare with (it has no {key}): write it by "
                    "`depthformer export`"
                )
        reference = Reference.decode(metadata[KEY])
        try:
            statistics = json.loads(metadata[NORMALIZATION])
            mean, std = (np.array(statistics[name], np.float32) for name in ("mean", "std"))
            blocks = tuple(map(str, json.loads(metadata[BLOCKS_KEY])))
        except (ValueError, TypeError, KeyError) as error:
            raise BadReferenceError(f"the file's metadata cannot be read: {error!r}") from error
        precision = metadata[PRECISION]
        if mean.shape != (3,) or std.shape != (3,) or precision not in _BLOCK_TOLERANCES:
            raise BadReferenceError("the file's metadata is damaged")
        return cls(precision, mean, std, blocks, reference)

    def normalize(self, rgb: Rgb) -> FloatArray:
        """Return an image (H, W, 3) as the network reads it, (1, 3, H, W)."""
        scaled = rgb * (1 / self.std) + -self.mean / self.std
        return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None], np.float32)


@dataclass(frozen=True)
class Comparison:
    """Differences of a file's outputs from PyTorch's.

    Attributes:
        runtime: What ran it.
        precision: Number format of the file.
        metres: Largest absolute difference of the outputs, by image.
        shares: Mean of the absolute difference over the depth, by image.
        exceeding: Images whose difference is more than rounding.
        block: First block that differs, and by how much of its deviation; empty if none does.
    """

    runtime: str
    precision: str
    metres: Mapping[str, float]
    shares: Mapping[str, float]
    exceeding: tuple[str, ...]
    block: str = ""

    @property
    def agrees(self) -> bool:
        """Whether the file computes what PyTorch does."""
        return not self.exceeding

    @property
    def worst(self) -> str:
        """Largest difference, in words."""
        metres, share = (max(of.values(), key=_rank) for of in (self.metres, self.shares))
        if self.precision == "float32":
            limit = f"{_METRES * 1e3:g} mm and {_ROUNDING:.3%} of the depth"
            return f"{metres * 1e3:.2g} mm (of {limit})"
        return f"{share:.2%} of the depth (of {_SHARE:.0%})"

    def describe_failure(self, name: str) -> str:
        """Return one line on a file that differs."""
        block = self.block or "none of the blocks alone"
        return (
            f"{name} differs from PyTorch by {self.worst} with {self.runtime}; "
            f"first block that differs: {block}"
        )


def compare(open_file: Opener, *, blocks: bool = True) -> Comparison:
    """Run a file on the images of its reference and compare.

    Args:
        open_file: Opens the file.
        blocks: Whether the first block that differs is looked for, if the outputs differ.

    Raises:
        BadReferenceError: The file has no reference.
        VerificationError: Its outputs have other shapes.
    """
    session = open_file(())
    description = Description.of(session.metadata)
    reference = description.reference
    metres: dict[str, float] = {}
    shares: dict[str, float] = {}
    exceeding: list[str] = []
    for index, (name, rgb) in enumerate(reference.images.items()):
        outputs = session.run(description.normalize(rgb))
        differences, excess = {}, False
        depth = reference.outputs["depth"][index]
        for output, wanted in reference.outputs.items():
            got = output_sample(_named(outputs, output))
            if got.shape != depth.shape:
                raise VerificationError(
                    f"output {output} has {got.shape} pixels where PyTorch has {depth.shape}: the "
                    "file and its reference do not belong together"
                )
            difference = np.abs(got - wanted[index])
            differences[output] = difference
            # A difference that is NaN is none within.
            excess |= not (difference <= _METRES + _ROUNDING * depth).all()
        metres[name] = float(np.max([difference.max() for difference in differences.values()]))
        shares[name] = float(np.mean(differences["depth"] / depth))
        if description.precision != "float32":
            excess = not shares[name] <= _SHARE
        if excess:
            exceeding.append(name)
    result = Comparison(session.runtime, description.precision, metres, shares, tuple(exceeding))
    if result.agrees or not blocks:
        return result
    del session
    name = max(exceeding, key=lambda image: _rank(metres[image]))
    try:
        block = first_difference(open_file, description, name)
    except DepthFormerError as error:
        # Engines have no such outputs, and ONNX Runtime gets them by another library.
        block = f"unknown, since {error}"
    return replace(result, block=block)


def first_difference(open_file: Opener, description: Description, image: str) -> str:
    """Return the first block whose values differ from PyTorch's, in words; empty if none do."""
    reference = description.reference
    names = [name for name in description.blocks if name in reference.blocks]
    index = list(reference.images).index(image)
    try:
        session = open_file(names)
    except DepthFormerError as error:
        return f"unknown, since its blocks cannot be read ({error})"
    outputs = session.run(description.normalize(reference.images[image]))
    tolerance = _BLOCK_TOLERANCES[description.precision]
    for name in names:
        wanted = reference.blocks[name][index]
        got = block_sample(_named(outputs, name))
        if got.shape != wanted.shape:
            return f"{name} (another shape)"
        relative = float(np.abs(got - wanted).max() / max(float(wanted.std()), 1e-6))
        if not relative <= tolerance:
            return f"{name} (by {relative:.2g} of its deviation)"
    return ""


def _named(outputs: Mapping[str, FloatArray], name: str) -> FloatArray:
    if name not in outputs:
        raise VerificationError(
            f"there is no output {name} (an engine has those of its blocks if it was built from a "
            "file of `depthformer export --blocks`)"
        )
    return outputs[name]


def _rank(difference: float) -> float:
    """Return a difference to compare by: NaN is the largest."""
    return float("inf") if np.isnan(difference) else difference
