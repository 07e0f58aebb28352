"""Paint of the patterns on the ground."""

from collections.abc import Callable

import cv2
import numpy as np

from depthformer_core.synthetic.rendering.noise import chance, cloud_tile, sample, white_tile
from depthformer_core.synthetic.scene.patterns import (
    GAUGE,
    TRACKS,
    Colour,
    Kind,
    Pattern,
    Spots,
    line_cover,
    mix,
    stripes,
    tint,
    toned,
)
from depthformer_core.types import FloatArray

_FARTHEST = 160.0  # metres; beyond, a pattern is narrower than a pixel
_HEAD = 0.07  # width of a rail, metres
_TEXTS = ("BUS", "TAXI", "STOP", "30", "50", "SLOW", "TRAM", "P", "BUS LANE", "KEEP CLEAR", "A5")


def paint_pattern(
    pattern: Pattern, colours: FloatArray, s: FloatArray, t: FloatArray, depth: FloatArray
) -> None:
    """Paint a pattern over colours (3, N) of points on the ground.

    Args:
        pattern: The pattern.
        colours: (3, N), 0 to 1 in display space; changed in place.
        s: (N,), place along the road, metres.
        t: (N,), place across it, metres.
        depth: (N,), distance from the camera along its axis, metres.
    """
    inside = (t > pattern.left) & (t < pattern.right) & (s > pattern.begin) & (s < pattern.end)
    pick = np.flatnonzero(inside & (depth < _FARTHEST))
    if not len(pick):
        return
    spots = Spots(pattern, s[pick], t[pick], depth[pick], np.random.default_rng(pattern.code))
    colours[:, pick] = _PAINTS[pattern.kind](spots, colours[:, pick])


def _track(spots: Spots, colours: FloatArray) -> FloatArray:
    kind, rng = spots.pattern.kind, spots.rng
    along, across = spots.along, spots.across
    if kind == Kind.BALLAST_TRACK:
        colours = _ballast(spots, colours)
    elif kind == Kind.GRASS_TRACK:
        green = tint(rng, (0.30, 0.37, 0.17), (0.42, 0.41, 0.22), (0.24, 0.32, 0.15))
        colours = toned(green, 1 + 0.7 * spots.noise(30) + 0.15 * spots.clouds(9))
    elif kind == Kind.PAVED_TRACK:
        colours = (_setts if rng.random() < 0.5 else _slabs)(spots, colours)
    grooved = kind != Kind.BALLAST_TRACK
    bright = tint(rng, (0.85, 0.86, 0.88), (0.55, 0.51, 0.47), (0.40, 0.33, 0.28))
    rust = tint(rng, (0.36, 0.22, 0.15), (0.27, 0.20, 0.17))
    border = tint(rng, (0.16, 0.16, 0.16), (0.55, 0.54, 0.52), (0.30, 0.30, 0.30))
    shine = 1 + 0.12 * sample(cloud_tile(), spots.s * 3, np.full_like(spots.s, 41))
    slabbed = grooved and rng.random() < 0.4  # a strip of concrete or tar holds each rail
    for middle in spots.pattern.middles:
        inward = np.abs(spots.t - np.float32(middle)) - np.float32(GAUGE / 2)
        if grooved:
            if slabbed or kind == Kind.FLUSH_TRACK:
                mix(colours, line_cover(inward - np.float32(0.02), 0.3, across), border)
            mix(colours, line_cover(inward + np.float32(0.025), 0.05, across), (0.06, 0.06, 0.06))
            mix(colours, line_cover(inward + np.float32(0.06), 0.02, across), bright * 0.8)
        else:
            mix(colours, line_cover(inward - np.float32(_HEAD / 2), 0.19, across), rust)
            mix(colours, line_cover(inward + np.float32(0.02), 0.04, across), rust * 0.4)
            bolts = stripes(spots.s, 0.6, 0.15, along) * 0.5
            mix(colours, line_cover(inward + np.float32(0.09), 0.1, across) * bolts, rust * 0.6)
        mix(
            colours, line_cover(inward - np.float32(_HEAD / 2), _HEAD, across), toned(bright, shine)
        )
    return colours


def _ballast(spots: Spots, colours: FloatArray) -> FloatArray:
    """Paint stones, with a sleeper every 0.6 m or so under each track."""
    rng = spots.rng
    grey = tint(rng, (0.50, 0.49, 0.47), (0.38, 0.33, 0.28), (0.30, 0.28, 0.27))
    tone = 1 + 0.08 * spots.clouds(12) + rng.uniform(0.7, 1.3) * spots.noise(15)
    tone += 0.6 * spots.noise(33)
    tone *= 1 - 0.4 * (spots.noise(21) > 0.3)
    stones = toned(grey, tone)
    stones[0] *= 1 + 0.2 * spots.noise(24)
    stones[2] *= 1 - 0.35 * spots.noise(15)
    period, width = float(rng.choice((0.6, 0.6, 0.65, 0.75))), float(rng.uniform(0.2, 0.3))
    half = float(rng.uniform(1.15, 1.3))
    wood = rng.random() < 0.5
    pale = ((0.68, 0.67, 0.64), (0.58, 0.55, 0.52))
    colour = tint(rng, *(((0.26, 0.20, 0.16), (0.36, 0.30, 0.26)) if wood else pale))
    number = np.floor(spots.s / np.float32(period)).astype(np.int32)
    each = 1 + 0.3 * (chance(number, spots.pattern.code % 1000) - 0.5) + 0.25 * spots.noise(60)
    sleeper = stripes(spots.s, period, width, spots.along)
    # Some stones lie on the sleepers.
    sleeper *= 1 - np.clip(rng.uniform(0, 0.9) + 0.8 * spots.clouds(25), 0, 0.9)
    dust = tint(rng, (0.36, 0.26, 0.19), (0.30, 0.27, 0.25))
    weeds = 0.7 * (spots.clouds(7) > rng.uniform(0.8, 2.6))
    mix(stones, weeds.astype(np.float32), toned(np.array((0.30, 0.36, 0.18)), tone))
    for middle in spots.pattern.middles:
        off = np.abs(spots.t - np.float32(middle))
        mix(stones, np.float32(0.5) * np.clip(1.6 - off, 0, 1) ** 2, dust)
        under = np.clip((np.float32(half) - off) / spots.across + 0.5, 0, 1)
        mix(stones, sleeper * under, toned(colour, each))
    # Its edges are ragged.
    pattern = spots.pattern
    inside = np.minimum(spots.t - pattern.left, pattern.right - spots.t)
    cover = np.clip((inside - 0.15 - 0.1 * spots.clouds(20)) * 8, 0, 1)
    painted = colours.copy()
    mix(painted, np.asarray(cover, np.float32), stones)
    if rng.random() < 0.5:
        kerb = tint(rng, (0.66, 0.63, 0.57), (0.48, 0.46, 0.44))
        mix(painted, line_cover(inside - np.float32(0.15), 0.2, spots.across), kerb)
    return painted


def _setts(spots: Spots, _: FloatArray) -> FloatArray:
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
        stripes(along, size, 0.02, spots.along), stripes(across, size, 0.02, spots.across)
    )
    tone -= rng.uniform(0.3, 0.6) * joint
    tone += 0.3 * spots.noise(45)
    grey = tint(rng, (0.52, 0.50, 0.47), (0.33, 0.33, 0.34), (0.46, 0.37, 0.33))
    return toned(grey, np.asarray(tone, np.float32))


def _slabs(spots: Spots, _: FloatArray) -> FloatArray:
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
        stripes(spots.s, long, gap, spots.along), stripes(across, wide, gap, spots.across)
    )
    tone -= rng.uniform(0.3, 0.6) * joint
    one, two = (
        tint(rng, (0.62, 0.60, 0.57), (0.40, 0.40, 0.41), (0.52, 0.33, 0.27), (0.56, 0.51, 0.40))
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
    painted = toned(one, np.asarray(tone, np.float32))
    mix(painted, second * resolved, toned(two, np.asarray(tone, np.float32)))
    return painted


def _gravel(spots: Spots, _: FloatArray) -> FloatArray:
    rng = spots.rng
    tone = 1 + rng.uniform(0.4, 0.9) * spots.noise(25) + 0.4 * spots.noise(60)
    tone += 0.12 * spots.clouds(8) + 0.06 * spots.clouds(2.5)
    ruts = 0.12 * np.sin(spots.t * np.float32(rng.uniform(1.5, 4.5)))
    colour = tint(rng, (0.58, 0.55, 0.50), (0.48, 0.40, 0.31), (0.40, 0.39, 0.38))
    return toned(colour, np.asarray(tone + ruts, np.float32))


def _furrows(spots: Spots, _: FloatArray) -> FloatArray:
    """Paint ploughed soil or rows of plants, along or across the road or aslant."""
    rng = spots.rng
    turn = float(rng.choice((0.0, np.pi / 2, rng.uniform(0, np.pi))))
    place = spots.s * np.float32(np.cos(turn)) + spots.t * np.float32(np.sin(turn))
    place += 0.05 * spots.clouds(6)
    period = float(rng.uniform(0.3, 1.6))
    pixel = spots.along * np.float32(abs(np.cos(turn))) + spots.across
    row = stripes(place, period, period * rng.uniform(0.35, 0.65), pixel + np.float32(0.12))
    soil = tint(rng, (0.36, 0.28, 0.21), (0.26, 0.20, 0.16), (0.46, 0.39, 0.30))
    other = (
        np.float32(0.55) * soil
        if rng.random() < 0.5
        else tint(rng, (0.28, 0.38, 0.16), (0.55, 0.50, 0.3))
    )
    tone = 1 + 0.6 * spots.noise(14) + 0.1 * spots.clouds(5)
    painted = toned(soil, tone)
    mix(painted, row, toned(other, tone))
    return painted


def _worn(spots: Spots) -> FloatArray:
    """Return the remaining share of a worn marking, 0 to 1."""
    wear = spots.rng.uniform(0, 0.5)
    return np.asarray(np.clip(0.95 - wear * (0.5 + 0.6 * spots.clouds(30)), 0, 1), np.float32)


def _ink(rng: np.random.Generator) -> Colour:
    inks = ((0.82, 0.82, 0.80), (0.80, 0.64, 0.16), (0.62, 0.20, 0.16), (0.20, 0.32, 0.55))
    return inks[int(rng.choice(4, p=(0.72, 0.18, 0.06, 0.04)))]


def _hatching(spots: Spots, colours: FloatArray) -> FloatArray:
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
        cover = stripes(t, period, width, spots.across)
    elif style == "across":
        cover = stripes(spots.s, period, width, pixel)
    else:
        skewed = spots.s + np.float32(slope) * (np.abs(t) if style == "chevron" else t)
        cover = stripes(skewed, period, width, pixel)
    if style == "grid":
        skewed = spots.s - np.float32(slope) * t
        cover = np.maximum(cover, stripes(skewed, period, width, pixel))
    if rng.random() < 0.6:
        half = np.float32((pattern.right - pattern.left) / 2)
        cover = np.maximum(cover, line_cover(np.abs(t) - half + 0.08, 0.14, spots.across))
    if rng.random() < 0.15:
        mix(colours, np.full_like(t, 0.9), tint(rng, (0.50, 0.18, 0.14), (0.22, 0.40, 0.25)))
    mix(colours, cover * _worn(spots), _ink(rng))
    return colours


def _letters(spots: Spots, colours: FloatArray) -> FloatArray:
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
    mix(colours, np.asarray(cover * _worn(spots), np.float32), _ink(rng))
    return colours


def _repairs(spots: Spots, colours: FloatArray) -> FloatArray:
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
            stripes(spots.s + wave + np.float32(long / 2), float(long), 0.07, spots.along),
            stripes(spots.t + wave + np.float32(wide / 2), float(wide), 0.05, spots.across),
        )
        tar = np.maximum(tar, seam * some)
    for place in rng.uniform(pattern.left, pattern.right, rng.integers(1, 5)):
        tar = np.maximum(tar, line_cover(spots.t + wave - np.float32(place), 0.08, spots.across))
    joints = float(rng.uniform(3.0, 14.0))
    tar = np.maximum(tar, stripes(spots.s + wave, joints, 0.09, spots.along))
    trench = rng.uniform(pattern.left, pattern.right)
    tone -= rng.uniform(-0.2, 0.3) * (np.abs(spots.t - np.float32(trench)) < 0.5)
    colours *= np.asarray(tone, np.float32)
    mix(colours, np.float32(rng.uniform(0.6, 0.95)) * tar, (0.13, 0.13, 0.14))
    return colours


def _puddles(spots: Spots, colours: FloatArray) -> FloatArray:
    """Paint dark wet ground, paler far away, where it mirrors the sky."""
    rng = spots.rng
    limit = rng.uniform(-0.5, 1.2)
    wet = np.clip((spots.clouds(rng.uniform(5, 16)) - limit) * 4, 0, 1)
    colours *= np.asarray(1 - rng.uniform(0.25, 0.5) * wet, np.float32)
    mirror = np.clip(spots.depth / 45, 0, 1) * wet * rng.uniform(0.1, 0.6)
    mix(colours, np.asarray(mirror, np.float32), (0.72, 0.75, 0.79))
    return colours


def _leaves(spots: Spots, colours: FloatArray) -> FloatArray:
    rng = spots.rng
    cells = float(rng.uniform(10, 22))
    u, v = spots.s * np.float32(cells), spots.t * np.float32(cells)
    each = sample(white_tile(), u + 0.4 * v, v)
    share = np.clip(rng.uniform(0.05, 0.45) + 0.2 * spots.clouds(6), 0, 0.85)
    resolved = np.minimum(1, np.float32(1.5 / cells) / spots.along)
    cover = (each < share) * resolved + share * (1 - resolved)
    tone = 0.7 + 0.6 * sample(white_tile(), u + 77, v)
    colour = tint(rng, (0.62, 0.48, 0.14), (0.45, 0.27, 0.12), (0.52, 0.20, 0.10))
    mix(colours, np.asarray(0.9 * cover, np.float32), toned(colour, tone))
    return colours


def _bars(spots: Spots, colours: FloatArray) -> FloatArray:
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
    shade = stripes(place, period, width, spots.along)
    if style == "lattice":
        wide = float(rng.uniform(0.4, 2.0))
        shade = np.maximum(shade, stripes(spots.t, wide, 0.25 * wide, spots.across))
    elif style == "railing":
        for rail in rng.uniform(spots.pattern.left, spots.pattern.right, 2):
            shade = np.maximum(shade, line_cover(spots.t - np.float32(rail), 0.12, spots.across))
    colours *= 1 - np.float32(rng.uniform(0.3, 0.55)) * shade
    return colours


_PAINTS: dict[Kind, Callable[[Spots, FloatArray], FloatArray]] = {
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
