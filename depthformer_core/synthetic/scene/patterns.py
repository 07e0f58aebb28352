"""Patterns that lie flat on the ground: railway tracks, cobbles, furrows, hatching, shadows.

They change colours only; the ground under them keeps its shape.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from depthformer_core.synthetic.rendering.noise import cloud_tile, sample, white_tile
from depthformer_core.types import FloatArray

Colour = tuple[float, float, float]

GAUGE = 1.435
"""Distance of a track's rails, from inner side to inner side, metres."""


class Kind(IntEnum):
    """Kinds of patterns."""

    BALLAST_TRACK = 0
    GRASS_TRACK = 1
    PAVED_TRACK = 2
    FLUSH_TRACK = 3
    PAVERS = 4
    SLABS = 5
    GRAVEL = 6
    FURROWS = 7
    HATCHING = 8
    LETTERS = 9
    REPAIRS = 10
    PUDDLES = 11
    LEAVES = 12
    BARS = 13


TRACKS = (Kind.BALLAST_TRACK, Kind.GRASS_TRACK, Kind.PAVED_TRACK, Kind.FLUSH_TRACK)
"""The railway tracks."""


@dataclass(frozen=True)
class Pattern:
    """A rectangle along the road with a pattern on it.

    Attributes:
        kind: Kind of pattern.
        begin: Its start along the road, metres.
        end: Its end along the road.
        left: Its left edge, metres to the right of the road's middle.
        right: Its right edge.
        code: Seed of its details.
        middles: Middles of its railway tracks, metres to the right of the road's middle.
        clear: Whether nothing may stand on it.
    """

    kind: Kind
    begin: float
    end: float
    left: float
    right: float
    code: int
    middles: tuple[float, ...] = ()
    clear: bool = False


@dataclass(frozen=True)
class Spots:
    """Points in a pattern, and what its details are drawn from."""

    pattern: Pattern
    s: FloatArray
    t: FloatArray
    depth: FloatArray
    rng: np.random.Generator

    @property
    def along(self) -> FloatArray:
        """About how far a pixel reaches along the road, metres."""
        return np.asarray(self.depth * self.depth * np.float32(1 / 1200) + np.float32(0.004))

    @property
    def across(self) -> FloatArray:
        """About how far a pixel reaches across the road, metres."""
        aside = np.minimum(np.abs(self.t) / self.depth, 1)
        return np.asarray(self.depth * np.float32(1 / 700) + aside * self.along, np.float32)

    def noise(self, cells: float) -> FloatArray:
        """Return noise of -0.5 to 0.5 by cell, `cells` a metre, faded where pixels are larger."""
        shift = np.float32(self.pattern.code % 509)
        value = sample(white_tile(), self.s * np.float32(cells) + shift, self.t * np.float32(cells))
        value -= np.float32(0.5)
        value *= np.minimum(1, np.float32(0.5 / cells) / (self.along * self.across) ** 0.5)
        return value

    def clouds(self, cells: float) -> FloatArray:
        """Return smooth noise of mean 0 and deviation 1, so many cells a metre."""
        shift = np.float32(self.pattern.code % 499)
        u = self.s * np.float32(cells) + shift
        return sample(cloud_tile(), u, self.t * np.float32(cells))


def stripes(place: FloatArray, period: float, width: float, pixel: FloatArray) -> FloatArray:
    """Return the share of pixels in periodic stripes, 0 to 1; the mean where pixels are large."""
    off = np.abs(place % np.float32(period) - np.float32(period / 2))
    cover = np.clip((np.float32(width / 2) - off) / pixel + 0.5, 0, 1)
    blurred = np.clip(pixel * np.float32(1.4 / period) - 0.4, 0, 1)
    return np.asarray(cover + (np.float32(width / period) - cover) * blurred, np.float32)


def line_cover(distance: FloatArray, width: float, pixel: FloatArray) -> FloatArray:
    """Return the share of pixels in a line, from the distance to its middle."""
    wide = np.maximum(np.float32(width), pixel)
    cover = np.clip((wide / 2 - np.abs(distance)) / pixel + 0.5, 0, 1)
    return np.asarray(cover * (np.float32(width) / wide), np.float32)


def mix(colours: FloatArray, cover: FloatArray, colour: Colour | FloatArray) -> None:
    """Blend a colour into colours (3, N) in place, by its cover (N,), 0 to 1."""
    for channel, part in zip(colours, colour, strict=True):
        channel += (np.asarray(part, np.float32) - channel) * cover


def tint(rng: np.random.Generator, *choices: Colour) -> FloatArray:
    """Return a random colour between some."""
    shares = rng.dirichlet(np.full(len(choices), 0.6))
    return np.asarray(shares @ np.array(choices), np.float32)


def toned(colour: FloatArray, tone: FloatArray) -> FloatArray:
    """Return colours (3, N): a colour (3,) times a tone (N,)."""
    return np.asarray(colour[:, None] * tone, np.float32)
