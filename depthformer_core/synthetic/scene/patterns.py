"""Patterns that lie flat on the ground: railway tracks, cobbles, furrows, hatching, shadows.

They change colours only; the ground under them keeps its shape.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import cv2
import numpy as np

from depthformer_core.geometry.camera import FloatArray
from depthformer_core.synthetic.rendering.noise import chance, cloud_tile, sample, white_tile

Colour = tuple[float, float, float]

GAUGE = 1.435
"""Distance of a track's rails, from inner side to inner side, metres."""

_FARTHEST = 160.0  # metres; beyond, a pattern is narrower than a pixel
_HEAD = 0.07  # width of a rail, metres
_TEXTS = ("BUS", "TAXI", "STOP", "30", "50", "SLOW", "TRAM", "P", "BUS LANE", "KEEP CLEAR", "A5")


class Kind(IntEnum):
    """What a pattern shows."""

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
        begin: Where it begins along the road, metres.
        end: Where it ends along the road.
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

    def paint(self, colours: FloatArray, s: FloatArray, t: FloatArray, depth: FloatArray) -> None:
        """Paint it over colours (3, N) of points on the ground.

        Args:
            colours: (3, N), 0 to 1 in display space; changed in place.
            s: (N,), place along the road, metres.
            t: (N,), place across it, metres.
            depth: (N,), distance from the camera along its axis, metres.
        """
        inside = (t > self.left) & (t < self.right) & (s > self.begin) & (s < self.end)
        pick = np.flatnonzero(inside & (depth < _FARTHEST))
        if not len(pick):
            return
        spots = _Spots(self, s[pick], t[pick], depth[pick], np.random.default_rng(self.code))
        colours[:, pick] = _PAINTS[self.kind](spots, colours[:, pick])


@dataclass(frozen=True)
class _Spots:
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


def _stripes(place: FloatArray, period: float, width: float, pixel: FloatArray) -> FloatArray:
    """Return the share of pixels in periodic stripes, 0 to 1; the mean where pixels are large."""
    off = np.abs(place % np.float32(period) - np.float32(period / 2))
    cover = np.clip((np.float32(width / 2) - off) / pixel + 0.5, 0, 1)
    blurred = np.clip(pixel * np.float32(1.4 / period) - 0.4, 0, 1)
    return np.asarray(cover + (np.float32(width / period) - cover) * blurred, np.float32)


def _line(distance: FloatArray, width: float, pixel: FloatArray) -> FloatArray:
    """Return the share of pixels in a line, from the distance to its middle."""
    wide = np.maximum(np.float32(width), pixel)
    cover = np.clip((wide / 2 - np.abs(distance)) / pixel + 0.5, 0, 1)
    return np.asarray(cover * (np.float32(width) / wide), np.float32)


def _mix(colours: FloatArray, cover: FloatArray, colour: Colour | FloatArray) -> None:
    for channel, part in zip(colours, colour, strict=True):
        channel += (np.asarray(part, np.float32) - channel) * cover


def _tint(rng: np.random.Generator, *choices: Colour) -> FloatArray:
    """Return a random colour between some."""
    shares = rng.dirichlet(np.full(len(choices), 0.6))
    return np.asarray(shares @ np.array(choices), np.float32)


def _toned(colour: FloatArray, tone: FloatArray) -> FloatArray:
    return np.asarray(colour[:, None] * tone, np.float32)


def _track(spots: _Spots, colours: FloatArray) -> FloatArray:
    kind, rng = spots.pattern.kind, spots.rng
    along, across = spots.along, spots.across
    if kind == Kind.BALLAST_TRACK:
        colours = _ballast(spots, colours)
    elif kind == Kind.GRASS_TRACK:
        green = _tint(rng, (0.30, 0.37, 0.17), (0.42, 0.41, 0.22), (0.24, 0.32, 0.15))
        colours = _toned(green, 1 + 0.7 * spots.noise(30) + 0.15 * spots.clouds(9))
    elif kind == Kind.PAVED_TRACK:
        colours = (_setts if rng.random() < 0.5 else _slabs)(spots, colours)
    grooved = kind != Kind.BALLAST_TRACK
    bright = _tint(rng, (0.85, 0.86, 0.88), (0.55, 0.51, 0.47), (0.40, 0.33, 0.28))
    rust = _tint(rng, (0.36, 0.22, 0.15), (0.27, 0.20, 0.17))
    border = _tint(rng, (0.16, 0.16, 0.16), (0.55, 0.54, 0.52), (0.30, 0.30, 0.30))
    shine = 1 + 0.12 * sample(cloud_tile(), spots.s * 3, np.full_like(spots.s, 41))
    slabbed = grooved and rng.random() < 0.4  # a strip of concrete or tar holds each rail
    for middle in spots.pattern.middles:
        inward = np.abs(spots.t - np.float32(middle)) - np.float32(GAUGE / 2)
        if grooved:
            if slabbed or kind == Kind.FLUSH_TRACK:
                _mix(colours, _line(inward - np.float32(0.02), 0.3, across), border)
            _mix(colours, _line(inward + np.float32(0.025), 0.05, across), (0.06, 0.06, 0.06))
            _mix(colours, _line(inward + np.float32(0.06), 0.02, across), bright * 0.8)
        else:
            _mix(colours, _line(inward - np.float32(_HEAD / 2), 0.19, across), rust)
            _mix(colours, _line(inward + np.float32(0.02), 0.04, across), rust * 0.4)
            bolts = _stripes(spots.s, 0.6, 0.15, along) * 0.5
            _mix(colours, _line(inward + np.float32(0.09), 0.1, across) * bolts, rust * 0.6)
        _mix(colours, _line(inward - np.float32(_HEAD / 2), _HEAD, across), _toned(bright, shine))
    return colours


def _ballast(spots: _Spots, colours: FloatArray) -> FloatArray:
    """Paint stones, with a sleeper every 0.6 m or so under each track."""
    rng = spots.rng
    grey = _tint(rng, (0.50, 0.49, 0.47), (0.38, 0.33, 0.28), (0.30, 0.28, 0.27))
    tone = 1 + 0.08 * spots.clouds(12) + rng.uniform(0.7, 1.3) * spots.noise(15)
    tone += 0.6 * spots.noise(33)
    tone *= 1 - 0.4 * (spots.noise(21) > 0.3)
    stones = _toned(grey, tone)
    stones[0] *= 1 + 0.2 * spots.noise(24)
    stones[2] *= 1 - 0.35 * spots.noise(15)
    period, width = float(rng.choice((0.6, 0.6, 0.65, 0.75))), float(rng.uniform(0.2, 0.3))
    half = float(rng.uniform(1.15, 1.3))
    wood = rng.random() < 0.5
    pale = ((0.68, 0.67, 0.64), (0.58, 0.55, 0.52))
    colour = _tint(rng, *(((0.26, 0.20, 0.16), (0.36, 0.30, 0.26)) if wood else pale))
    number = np.floor(spots.s / np.float32(period)).astype(np.int32)
    each = 1 + 0.3 * (chance(number, spots.pattern.code % 1000) - 0.5) + 0.25 * spots.noise(60)
    sleeper = _stripes(spots.s, period, width, spots.along)
    # Some stones lie on the sleepers.
    sleeper *= 1 - np.clip(rng.uniform(0, 0.9) + 0.8 * spots.clouds(25), 0, 0.9)
    dust = _tint(rng, (0.36, 0.26, 0.19), (0.30, 0.27, 0.25))
    weeds = 0.7 * (spots.clouds(7) > rng.uniform(0.8, 2.6))
    _mix(stones, weeds.astype(np.float32), _toned(np.array((0.30, 0.36, 0.18)), tone))
    for middle in spots.pattern.middles:
        off = np.abs(spots.t - np.float32(middle))
        _mix(stones, np.float32(0.5) * np.clip(1.6 - off, 0, 1) ** 2, dust)
        under = np.clip((np.float32(half) - off) / spots.across + 0.5, 0, 1)
        _mix(stones, sleeper * under, _toned(colour, each))
    # Its edges are ragged.
    pattern = spots.pattern
    inside = np.minimum(spots.t - pattern.left, pattern.right - spots.t)
    cover = np.clip((inside - 0.15 - 0.1 * spots.clouds(20)) * 8, 0, 1)
    painted = colours.copy()
    _mix(painted, np.asarray(cover, np.float32), stones)
    if rng.random() < 0.5:
        kerb = _tint(rng, (0.66, 0.63, 0.57), (0.48, 0.46, 0.44))
        _mix(painted, _line(inside - np.float32(0.15), 0.2, spots.across), kerb)
    return painted


def _setts(spots: _Spots, _: FloatArray) -> FloatArray:
    """Paint cobbles in rows or in arcs."""
    rng = spots.rng
    size = float(rng.uniform(0.09, 0.22))
    bend = float(rng.choice((0.0, 0.25)))
    along = spots.s + np.float32(bend) * np.cos(spots.t * np.float32(2 * np.pi / 1.5))
    course = np.floor(along / np.float32(size))
    across = spots.t + np.float32(size / 2) * (course % 2)
    stone = np.floor(across / np.float32(size)).astype(np.int32) + 131 * course.astype(np.int32)
    near = np.minimum(1, np.float32(size) / spots.along)
    tone = 1 + rng.uniform(0.3, 0.7) * (chance(stone, 7) - 0.5) * near + 0.07 * spots.clouds(9)
    joint = np.maximum(
        _stripes(along, size, 0.02, spots.along), _stripes(across, size, 0.02, spots.across)
    )
    tone -= rng.uniform(0.3, 0.6) * joint
    tone += 0.3 * spots.noise(45)
    grey = _tint(rng, (0.52, 0.50, 0.47), (0.33, 0.33, 0.34), (0.46, 0.37, 0.33))
    return _toned(grey, np.asarray(tone, np.float32))


def _slabs(spots: _Spots, _: FloatArray) -> FloatArray:
    """Paint paving slabs with joints, some in two colours."""
    rng = spots.rng
    long, wide = (float(size) for size in rng.choice((0.2, 0.3, 0.5, 1.0, 2.0), 2))
    row = np.floor(spots.s / np.float32(long)).astype(np.int32)
    shift = float(rng.choice((0.0, 0.5))) * wide
    across = spots.t + np.float32(shift) * (row % 2)
    column = np.floor(across / np.float32(wide)).astype(np.int32)
    resolved = np.minimum(1, np.float32(long) / spots.along)
    tone = 1 + 0.25 * (chance(131 * row + column, 3) - 0.5) * resolved
    tone += 0.05 * spots.clouds(9) + 0.2 * spots.noise(40)
    gap = float(rng.uniform(0.01, 0.035))
    joint = np.maximum(
        _stripes(spots.s, long, gap, spots.along), _stripes(across, wide, gap, spots.across)
    )
    tone -= rng.uniform(0.3, 0.6) * joint
    one, two = (
        _tint(rng, (0.62, 0.60, 0.57), (0.40, 0.40, 0.41), (0.52, 0.33, 0.27), (0.56, 0.51, 0.40))
        for _ in range(2)
    )
    style = rng.random()
    every = int(rng.integers(2, 6))
    second = np.zeros(len(row), np.bool_)
    if style < 0.2:
        second = (row + column) % 2 == 0
    elif style < 0.4:
        second = row % every == 0
    elif style < 0.6:
        second = column % every == 0
    painted = _toned(one, np.asarray(tone, np.float32))
    _mix(painted, second * resolved, _toned(two, np.asarray(tone, np.float32)))
    return painted


def _gravel(spots: _Spots, _: FloatArray) -> FloatArray:
    rng = spots.rng
    tone = 1 + rng.uniform(0.4, 0.9) * spots.noise(25) + 0.4 * spots.noise(60)
    tone += 0.12 * spots.clouds(8) + 0.06 * spots.clouds(2.5)
    ruts = 0.12 * np.sin(spots.t * np.float32(rng.uniform(1.5, 4.5)))
    colour = _tint(rng, (0.58, 0.55, 0.50), (0.48, 0.40, 0.31), (0.40, 0.39, 0.38))
    return _toned(colour, np.asarray(tone + ruts, np.float32))


def _furrows(spots: _Spots, _: FloatArray) -> FloatArray:
    """Paint ploughed soil or rows of plants, along or across the road or aslant."""
    rng = spots.rng
    turn = float(rng.choice((0.0, np.pi / 2, rng.uniform(0, np.pi))))
    place = spots.s * np.float32(np.cos(turn)) + spots.t * np.float32(np.sin(turn))
    place += 0.05 * spots.clouds(6)
    period = float(rng.uniform(0.3, 1.6))
    pixel = spots.along * np.float32(abs(np.cos(turn))) + spots.across
    row = _stripes(place, period, period * rng.uniform(0.35, 0.65), pixel + np.float32(0.12))
    soil = _tint(rng, (0.36, 0.28, 0.21), (0.26, 0.20, 0.16), (0.46, 0.39, 0.30))
    other = (
        np.float32(0.55) * soil
        if rng.random() < 0.5
        else _tint(rng, (0.28, 0.38, 0.16), (0.55, 0.50, 0.3))
    )
    tone = 1 + 0.6 * spots.noise(14) + 0.1 * spots.clouds(5)
    painted = _toned(soil, tone)
    _mix(painted, row, _toned(other, tone))
    return painted


def _worn(spots: _Spots) -> FloatArray:
    """Return the remaining share of a worn marking, 0 to 1."""
    wear = spots.rng.uniform(0, 0.5)
    return np.asarray(np.clip(0.95 - wear * (0.5 + 0.6 * spots.clouds(30)), 0, 1), np.float32)


def _ink(rng: np.random.Generator) -> Colour:
    inks = ((0.82, 0.82, 0.80), (0.80, 0.64, 0.16), (0.62, 0.20, 0.16), (0.20, 0.32, 0.55))
    return inks[int(rng.choice(4, p=(0.72, 0.18, 0.06, 0.04)))]


def _hatching(spots: _Spots, colours: FloatArray) -> FloatArray:
    """Paint slanted bars, chevrons, a grid, or bars along or across the road."""
    rng, pattern = spots.rng, spots.pattern
    slope = float(rng.choice((-1, 1)) * rng.uniform(0.5, 2.0))
    width = float(rng.uniform(0.12, 0.6))
    period = width * float(rng.uniform(1.8, 4.0))
    middle = np.float32((pattern.left + pattern.right) / 2)
    t = spots.t - middle
    styles = ("slant", "chevron", "grid", "across", "along")
    style = rng.choice(styles, p=(0.3, 0.2, 0.2, 0.15, 0.15))
    pixel = spots.along
    if style == "along":
        cover = _stripes(t, period, width, spots.across)
    elif style == "across":
        cover = _stripes(spots.s, period, width, pixel)
    else:
        skewed = spots.s + np.float32(slope) * (np.abs(t) if style == "chevron" else t)
        cover = _stripes(skewed, period, width, pixel)
    if style == "grid":
        skewed = spots.s - np.float32(slope) * t
        cover = np.maximum(cover, _stripes(skewed, period, width, pixel))
    if rng.random() < 0.6:
        half = np.float32((pattern.right - pattern.left) / 2)
        cover = np.maximum(cover, _line(np.abs(t) - half + 0.08, 0.14, spots.across))
    if rng.random() < 0.15:
        _mix(colours, np.full_like(t, 0.9), _tint(rng, (0.50, 0.18, 0.14), (0.22, 0.40, 0.25)))
    _mix(colours, cover * _worn(spots), _ink(rng))
    return colours


def _letters(spots: _Spots, colours: FloatArray) -> FloatArray:
    """Paint text or arrows that repeat along a lane."""
    rng, pattern = spots.rng, spots.pattern
    stamp = np.zeros((96, 96), np.uint8)
    if rng.random() < 0.5:
        head = np.array(((48, 4), (72, 40), (56, 40), (56, 92), (40, 92), (40, 40), (24, 40)))
        cv2.fillPoly(stamp, [head.astype(np.int32)], 255)
        if rng.random() < 0.5:
            turn = np.array(((48, 56), (72, 50), (72, 42), (92, 56), (72, 72), (72, 62), (48, 68)))
            if rng.random() < 0.5:
                turn[:, 0] = 95 - turn[:, 0]
            cv2.fillPoly(stamp, [turn.astype(np.int32)], 255)
    else:
        lines = _TEXTS[int(rng.integers(len(_TEXTS)))].split()
        for line, text in enumerate(lines):
            rows = 96 // len(lines)
            (wide, high), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 1.0, 4)
            drawn = np.zeros((high + 8, wide + 8), np.uint8)
            cv2.putText(drawn, text, (4, high + 3), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 255, 4)
            stamp[line * rows : (line + 1) * rows] = cv2.resize(drawn, (96, rows))
    length = float(rng.uniform(2.5, 7.0))
    period = length + float(rng.uniform(3.0, 25.0))
    width = (pattern.right - pattern.left) * float(rng.uniform(0.5, 0.85))
    up = (spots.s + np.float32(rng.uniform(0, period))) % np.float32(period)
    across = spots.t - np.float32((pattern.left + pattern.right) / 2) + np.float32(width / 2)
    row = ((1 - up / np.float32(length)) * 96).astype(np.int32)
    column = (across * np.float32(96 / width)).astype(np.int32)
    inside = (up < length) & (across > 0) & (column < 96)
    place = np.clip(row, 0, 95) * 96 + np.clip(column, 0, 95)
    cover = (stamp.ravel().take(place) * inside).astype(np.float32) / 255
    _mix(colours, np.asarray(cover * _worn(spots), np.float32), _ink(rng))
    return colours


def _repairs(spots: _Spots, colours: FloatArray) -> FloatArray:
    """Paint asphalt in patches, with tar in the seams."""
    rng, pattern = spots.rng, spots.pattern
    shift = np.float32(pattern.code % 487)
    wave = 0.06 * spots.clouds(8)
    tone = np.ones_like(spots.s)
    tar = np.zeros_like(spots.s)
    for long, wide in rng.uniform((2.0, 0.5), (9.0, 2.5), (2, 2)):
        u, v = spots.s / np.float32(long) + shift, spots.t / np.float32(wide)
        patch = sample(white_tile(), u, v)
        some = patch > 0.7
        tone += some * (patch - np.float32(0.85)) * np.float32(rng.uniform(1.0, 2.6))
        seam = np.maximum(
            _stripes(spots.s + wave + np.float32(long / 2), float(long), 0.07, spots.along),
            _stripes(spots.t + wave + np.float32(wide / 2), float(wide), 0.05, spots.across),
        )
        tar = np.maximum(tar, seam * some)
    for place in rng.uniform(pattern.left, pattern.right, rng.integers(1, 5)):
        tar = np.maximum(tar, _line(spots.t + wave - np.float32(place), 0.08, spots.across))
    joints = float(rng.uniform(3.0, 14.0))
    tar = np.maximum(tar, _stripes(spots.s + wave, joints, 0.09, spots.along))
    trench = rng.uniform(pattern.left, pattern.right)
    tone -= rng.uniform(-0.2, 0.3) * (np.abs(spots.t - np.float32(trench)) < 0.5)
    colours *= np.asarray(tone, np.float32)
    _mix(colours, np.float32(rng.uniform(0.6, 0.95)) * tar, (0.13, 0.13, 0.14))
    return colours


def _puddles(spots: _Spots, colours: FloatArray) -> FloatArray:
    """Paint dark wet ground, paler far away, where it mirrors the sky."""
    rng = spots.rng
    limit = rng.uniform(-0.5, 1.2)
    wet = np.clip((spots.clouds(rng.uniform(5, 16)) - limit) * 4, 0, 1)
    colours *= np.asarray(1 - rng.uniform(0.25, 0.5) * wet, np.float32)
    mirror = np.clip(spots.depth / 45, 0, 1) * wet * rng.uniform(0.1, 0.6)
    _mix(colours, np.asarray(mirror, np.float32), (0.72, 0.75, 0.79))
    return colours


def _leaves(spots: _Spots, colours: FloatArray) -> FloatArray:
    rng = spots.rng
    cells = float(rng.uniform(10, 22))
    u, v = spots.s * np.float32(cells), spots.t * np.float32(cells)
    each = sample(white_tile(), u + 0.4 * v, v)
    share = np.clip(rng.uniform(0.05, 0.45) + 0.2 * spots.clouds(6), 0, 0.85)
    resolved = np.minimum(1, np.float32(1.5 / cells) / spots.along)
    cover = (each < share) * resolved + share * (1 - resolved)
    tone = 0.7 + 0.6 * sample(white_tile(), u + 77, v)
    colour = _tint(rng, (0.62, 0.48, 0.14), (0.45, 0.27, 0.12), (0.52, 0.20, 0.10))
    _mix(colours, np.asarray(0.9 * cover, np.float32), _toned(colour, tone))
    return colours


def _bars(spots: _Spots, colours: FloatArray) -> FloatArray:
    """Paint shadows of a railing, of a row of trunks, or of a lattice."""
    rng = spots.rng
    skew = np.float32(rng.choice((-1, 1)) * rng.uniform(0.0, 1.6))
    place = spots.s + skew * spots.t
    style = rng.choice(("railing", "trunks", "lattice"))
    if style == "trunks":
        period, width = float(rng.uniform(2.0, 8.0)), float(rng.uniform(0.25, 1.2))
        place += 0.12 * spots.clouds(5)
    else:
        period = float(rng.uniform(0.25, 1.2))
        width = period * float(rng.uniform(0.2, 0.6))
    shade = _stripes(place, period, width, spots.along)
    if style == "lattice":
        wide = float(rng.uniform(0.4, 2.0))
        shade = np.maximum(shade, _stripes(spots.t, wide, 0.25 * wide, spots.across))
    elif style == "railing":
        for rail in rng.uniform(spots.pattern.left, spots.pattern.right, 2):
            shade = np.maximum(shade, _line(spots.t - np.float32(rail), 0.12, spots.across))
    colours *= 1 - np.float32(rng.uniform(0.3, 0.55)) * shade
    return colours


_PAINTS: dict[Kind, Callable[[_Spots, FloatArray], FloatArray]] = {
    **dict.fromkeys(TRACKS, _track),
    Kind.PAVERS: _setts,
    Kind.SLABS: _slabs,
    Kind.GRAVEL: _gravel,
    Kind.FURROWS: _furrows,
    Kind.HATCHING: _hatching,
    Kind.LETTERS: _letters,
    Kind.REPAIRS: _repairs,
    Kind.PUDDLES: _puddles,
    Kind.LEAVES: _leaves,
    Kind.BARS: _bars,
}
