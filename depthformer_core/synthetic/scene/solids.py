"""Convex bodies that a scene is made of: blocks with six faces, and ellipsoids.

The world's frame is x right, y down, z forward, metres. A body stands in a frame of its own: x
right, y **up**, z forward, turned around the vertical and put on a point of the ground.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from depthformer_core.types import BoolArray, FloatingArray


class Material(IntEnum):
    """Materials of bodies, by their paint."""

    PLAIN = 0
    FACADE = 1
    ROOF = 2
    BODYWORK = 3
    CABIN = 4
    LEAVES = 5
    WHEEL = 6
    SLATS = 7
    CARGO = 8
    SIGN = 9
    CONCRETE = 10
    BARK = 11
    TRAILER = 12
    BARRIER = 13


FACES = 6
"""Faces of a block: left, right, bottom, top, back, front."""

LEFT, RIGHT, BOTTOM, TOP, BACK, FRONT = range(FACES)

# Corner k lies at the high side of x, y, z where bits 0, 1, 2 of k are set. Each face's corners
# are so ordered that their diagonals' cross product points inside or outside alike.
_FACE_CORNERS = np.array(
    [[0, 2, 6, 4], [1, 3, 7, 5], [0, 1, 5, 4], [2, 3, 7, 6], [0, 1, 3, 2], [4, 5, 7, 6]]
)


@dataclass(frozen=True)
class Solids:
    """Many bodies, one a row.

    Attributes:
        corners: (N, 8, 3), of the block, or of the box around the ellipsoid, in the world.
        normals: (N, 6, 3), unit, outward; of an ellipsoid those of its box.
        offsets: (N, 6): the points p of a block have normals @ p <= offsets.
        round: (N,), whether the body is the ellipsoid that fills its box.
        origin: (N, 3), point of the ground under the body's frame.
        yaw: (N,), radians, positive turns forward to the right.
        low: (N, 3), lower corner in the body's frame.
        high: (N, 3), upper corner in the body's frame.
        material: (N,), `Material`.
        colour: (N, 3), 0 to 1 in display space.
        accent: (N, 3), second colour.
        detail: (N, 4), numbers that the material's paint reads.
    """

    corners: FloatingArray
    normals: FloatingArray
    offsets: FloatingArray
    round: BoolArray
    origin: FloatingArray
    yaw: FloatingArray
    low: FloatingArray
    high: FloatingArray
    material: npt.NDArray[np.uint8]
    colour: FloatingArray
    accent: FloatingArray
    detail: FloatingArray

    def __len__(self) -> int:
        """Count the bodies."""
        return len(self.yaw)

    @staticmethod
    def join(parts: Sequence["Solids"]) -> "Solids":
        """Put the bodies of all parts into one."""
        names = (field.name for field in fields(Solids))
        return Solids(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


class Placement(TypedDict):
    """Pose of the parts of a thing: keywords of `Builder.add`."""

    origin: FloatingArray
    yaw: FloatingArray


class PaintedPlacement(Placement):
    """A placement with the colour of the parts."""

    colour: FloatingArray


class Builder:
    """Collects bodies, many of a kind at a time."""

    def __init__(self) -> None:
        self._parts: list[tuple[npt.NDArray[np.generic], ...]] = []

    @property
    def count(self) -> int:
        """Number of bodies so far."""
        return sum(len(part[0]) for part in self._parts)

    def add(
        self,
        material: Material,
        *,
        origin: FloatingArray,
        yaw: FloatingArray | float,
        low: npt.ArrayLike,
        high: npt.ArrayLike,
        colour: npt.ArrayLike,
        accent: npt.ArrayLike = (0.0, 0.0, 0.0),
        detail: npt.ArrayLike = (0.0, 0.0, 0.0, 0.0),
        inset: npt.ArrayLike = (0.0, 0.0, 0.0, 0.0),
        round_body: bool = False,
    ) -> None:
        """Add bodies; all arguments broadcast to one row each.

        Args:
            material: Their material.
            origin: (N, 3), where their frames stand in the world.
            yaw: (N,), how they are turned.
            low: (N, 3), lower corners in their frames: x, up, z.
            high: (N, 3), upper corners.
            colour: (N, 3), 0 to 1.
            accent: (N, 3), second colour.
            detail: (N, 4), numbers for the paint.
            inset: (N, 4), how much narrower the top is at low x, high x, low z and high z.
            round_body: Whether they are the ellipsoids in these boxes.
        """
        count = len(origin)
        if not count:
            return
        wide = []
        for value, size in (
            (origin, 3), (low, 3), (high, 3), (colour, 3), (accent, 3), (detail, 4), (inset, 4)
        ):  # fmt: skip
            rows = np.empty((count, size))
            rows[:] = value
            wide.append(rows)
        yaws = np.empty(count)
        yaws[:] = yaw
        materials = np.full(count, material, np.uint8)
        self._parts.append((*wide, yaws, materials, np.full(count, round_body)))

    def build(self) -> Solids:
        """Make the bodies."""
        columns = [np.concatenate(column) for column in zip(*self._parts, strict=True)]
        origin, low, high, colour, accent, detail, inset, yaw, material, is_round = columns
        corners = _corners(low, high, inset)
        cosine, sine = np.cos(yaw)[:, None], np.sin(yaw)[:, None]
        x, up, z = corners[..., 0], corners[..., 1], corners[..., 2]
        world = np.stack((cosine * x + sine * z, -up, cosine * z - sine * x), axis=-1)
        world += origin[:, None]
        normals, offsets = _planes(world)
        return Solids(
            world,
            normals,
            offsets,
            is_round,
            origin,
            yaw,
            low,
            high,
            material,
            colour,
            accent,
            detail,
        )


def _corners(low: FloatingArray, high: FloatingArray, inset: FloatingArray) -> FloatingArray:
    bits = (np.arange(8)[:, None] >> np.arange(3)) & 1
    corners = np.where(bits, high[:, None], low[:, None])
    top = bits[:, 1] == 1
    for axis, lower, upper in ((0, 0, 1), (2, 2, 3)):
        corners[:, top & (bits[:, axis] == 0), axis] += inset[:, lower, None]
        corners[:, top & (bits[:, axis] == 1), axis] -= inset[:, upper, None]
    return corners


def _planes(corners: FloatingArray) -> tuple[FloatingArray, FloatingArray]:
    faces = corners[:, _FACE_CORNERS]
    normals = np.cross(faces[:, :, 2] - faces[:, :, 0], faces[:, :, 3] - faces[:, :, 1])
    lengths = np.linalg.norm(normals, axis=-1, keepdims=True)
    # The top of a gable roof or a pyramid is but an edge or a point.
    flat = lengths[..., 0] < 1e-9
    normals = np.where(flat[..., None], (0.0, -1.0, 0.0), normals / np.maximum(lengths, 1e-9))
    outward = ((faces.mean(axis=2) - corners.mean(axis=1, keepdims=True)) * normals).sum(-1)
    normals *= np.where(flat | (outward > 0), 1.0, -1.0)[..., None]
    offsets = (normals[:, :, None] * faces).sum(-1).max(axis=2)
    return normals, offsets


def rows(*columns: npt.ArrayLike) -> FloatingArray:
    """Stack columns, each a number or one value a row, as rows."""
    return np.stack(np.broadcast_arrays(*(np.asarray(c, np.float64) for c in columns)), axis=-1)
