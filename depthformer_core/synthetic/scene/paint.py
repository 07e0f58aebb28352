"""Colours of bodies, from where on them a point lies."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from depthformer_core.synthetic.rendering.noise import chance, cloud_tile, sample, white_tile
from depthformer_core.synthetic.scene.solids import BACK, BOTTOM, LEFT, RIGHT, TOP, Material, Solids
from depthformer_core.types import BoolArray, FloatArray

# Kinds of trailers and of barriers, the lowest bits of their first detail.
BOX, CURTAIN, CONTAINER, TIPPER, TANK = range(5)
BOARDS, RIBS, BRICKS, BLOCKS = range(4)

# Columns of the table that paints read.
_LOW, _HIGH, _COLOUR, _ACCENT, _DETAIL = 0, 3, 6, 9, 12


def paint_table(solids: Solids) -> FloatArray:
    """Tabulate the paint parameters of bodies, (16, bodies)."""
    columns = (solids.low, solids.high, solids.colour, solids.accent, solids.detail)
    return np.ascontiguousarray(np.concatenate(columns, axis=1).T, np.float32)


@dataclass(frozen=True)
class Spots:
    """Points on bodies of one material.

    Attributes:
        table: Parameters of the bodies, see `paint_table`.
        body: (N,), number of the body.
        facet: (N,), its face.
        x: (N,), place in the body's frame, metres.
        up: (N,).
        z: (N,).
        depth: (N,), distance from the camera along its axis, metres.
    """

    table: FloatArray
    body: npt.NDArray[np.intp]
    facet: npt.NDArray[np.int32]
    x: FloatArray
    up: FloatArray
    z: FloatArray
    depth: FloatArray

    def low(self, axis: int) -> FloatArray:
        """Lower corner of the body in its frame, (N,)."""
        return np.asarray(self.table[_LOW + axis].take(self.body))

    def high(self, axis: int) -> FloatArray:
        """Return the upper corner of the body in its frame, (N,)."""
        return np.asarray(self.table[_HIGH + axis].take(self.body))

    def detail(self, number: int) -> FloatArray:
        """Return a paint parameter, (N,)."""
        return np.asarray(self.table[_DETAIL + number].take(self.body))

    @property
    def colour(self) -> FloatArray:
        """Colour of the body, (3, N), 0 to 1."""
        return self.table[_COLOUR : _COLOUR + 3].take(self.body, axis=1)

    @property
    def accent(self) -> FloatArray:
        """Second colour of the body, (3, N), 0 to 1."""
        return self.table[_ACCENT : _ACCENT + 3].take(self.body, axis=1)

    @property
    def side(self) -> BoolArray:
        """Mask of left and right faces."""
        return np.asarray((self.facet == LEFT) | (self.facet == RIGHT))

    @property
    def across(self) -> FloatArray:
        """Horizontal place along the face, metres."""
        return np.where(self.side, self.z, self.x)

    def noise(self, cells: float) -> FloatArray:
        """Return static noise of mean 0 and deviation 1 with `cells` cells a metre."""
        u = (self.x + self.z) * np.float32(cells) + self.body * np.float32(17)
        v = (self.up + 0.5 * self.x) * np.float32(cells)
        return sample(cloud_tile(), u, v)

    def fade(self, size: float) -> FloatArray:
        """Return the remaining contrast of detail of a size, metres, at the resolution."""
        return np.asarray(np.minimum(1, np.float32(500 * size) / self.depth))


def paint(material: int, spots: Spots) -> FloatArray:
    """Return the colours (3, N) of spots, 0 to 1 in display space."""
    return _PAINTS[Material(material)](spots)


def _plain(spots: Spots) -> FloatArray:
    return spots.colour * (1 + 0.03 * spots.noise(20))


def _facade(spots: Spots) -> FloatArray:
    storey, base, pitch, code = (spots.detail(k) for k in range(4))
    wall = spots.colour * (1 + 0.04 * spots.noise(30) + 0.02 * spots.noise(90) * spots.fade(0.05))
    # Dirt near the ground.
    wall *= np.clip(0.86 + 0.1 * spots.up, 0.75, 1)
    across = np.where(spots.side, spots.z - spots.low(2) - 0.6, spots.x - spots.low(0) - 0.6)
    wide = np.where(spots.side, spots.high(2) - spots.low(2), spots.high(0) - spots.low(0)) - 1.2
    bays = np.maximum(np.floor(wide / pitch), 1)
    column = across * bays / wide
    row = (spots.up - base) / storey
    inside = (column > 0) & (column < bays) & (row > 0) & (spots.up < spots.high(1) - 0.5)
    bay, floor = np.floor(column), np.floor(row)
    u, v = (column - bay - 0.5) * (wide / bays), (row - floor) * storey
    style = code.astype(np.int32)
    shop = (style & 1).astype(bool) & (floor == 0)
    kind = chance(style, 5)
    cell = chance((bay + 64 * floor).astype(np.int32) + style * 7, 11)
    half = np.where(shop, 0.46 * wide / bays, (0.42 + 0.35 * kind) * np.where(kind > 0.8, 1.3, 1))
    lower = np.where(shop, 0.35, np.where(kind > 0.6, 0.45, 0.85))
    upper = np.where(shop, storey - 0.6, np.minimum(2.25, storey - 0.35))
    half = np.minimum(half, wide / bays / 2 - 0.12)
    inside &= (cell > 0.05) | shop
    frame = inside & (np.abs(u) < half + 0.08) & (v > lower - 0.08) & (v < upper + 0.08)
    pane = inside & (np.abs(u) < half) & (v > lower) & (v < upper)
    bar = (np.abs(u) < 0.03) | (np.abs(v - lower - 0.68 * (upper - lower)) < 0.03)
    pane &= ~(bar & (kind < 0.7))
    sill = inside & (np.abs(u) < half + 0.16) & (np.abs(v - lower + 0.12) < 0.05)
    light = chance(style, 31)
    trim = np.where(light < 0.75, np.float32(0.84), spots.accent)
    wall = np.where((frame | sill), trim, wall)
    shine = 0.10 + 0.10 * cell + 0.14 * np.clip(v / storey, 0, 1) + 0.25 * (cell > 0.8)
    glass = _tinted(shine, (0.85, 0.97, 1.1))
    wall = np.where(pane, glass, wall)
    ledge = (np.abs(spots.up - base - storey) < 0.12) & (kind > 0.35) | (spots.up < base)
    wall = np.where(ledge, 0.85 * spots.accent + 0.05, wall)
    door = inside & ~shop & (floor == 0) & (chance((bay + style).astype(np.int32), 3) > 0.78)
    leaf = door & (np.abs(u) < 0.55) & (v < 2.1)
    tint = np.stack([0.15 + 0.4 * chance(style, salt) for salt in (41, 43, 47)])
    return np.where(leaf, tint, wall)


def _roof(spots: Spots) -> FloatArray:
    rows = (spots.up * 3.2) % 1
    tone = 1 + 0.14 * (rows - 0.5) * spots.fade(0.15) + 0.08 * spots.noise(25)
    cells = sample(white_tile(), spots.across * 3.3, spots.up * 3.2) - 0.5
    tiles = spots.colour * (tone + 0.12 * cells * spots.fade(0.2))
    # The upright ends belong to the wall.
    end = (spots.side == (spots.detail(0) > 0.5)) & (spots.facet != BOTTOM)
    tiles = np.where(end, spots.accent, tiles)
    return np.where(spots.facet == BOTTOM, np.float32(0.35), tiles)


def _bodywork(spots: Spots) -> FloatArray:
    length, radius, axle, hood = (spots.detail(k) for k in range(4))
    colour = spots.colour
    side = spots.side
    end = ~side & (spots.facet != TOP)
    half = (spots.high(0) - spots.low(0)) / 2
    seam = side & (np.abs(np.abs(spots.z + 0.05 * length) % (0.24 * length) - 0.02) < 0.012)
    _dim(colour, seam & (spots.up > 0.35), 0.6)
    handle = side & (np.abs(spots.up - hood * 0.88) < 0.018) & (np.abs(spots.z % 1.05) < 0.2)
    _dim(colour, handle, 0.7)
    _put(colour, spots.up < spots.low(1) + 0.10, (0.09, 0.09, 0.095))
    for end_side in (-1, 1):
        arch = np.hypot(spots.z - end_side * axle, spots.up - radius)
        _put(colour, side & (arch < radius * 1.22), (0.05, 0.05, 0.055))
    out = np.abs(spots.x) / half
    lamp = end & (out > 0.62) & (np.abs(spots.up - 0.74 * hood) < 0.10)
    front = spots.z > 0
    _put(colour, lamp & front, (0.88, 0.88, 0.86))
    _put(colour, lamp & ~front, (0.55, 0.05, 0.05))
    grille = end & front & (out < 0.5) & (np.abs(spots.up - 0.68 * hood) < 0.10)
    _put(colour, grille, (0.10, 0.10, 0.11))
    plate_up = np.where(front, 0.42, 0.62) * hood
    plate = end & (np.abs(spots.x) < 0.26) & (np.abs(spots.up - plate_up) < 0.055)
    _put(colour, plate, (0.86, 0.86, 0.82))
    bumper = end & (spots.up < 0.38 * hood) & ~plate
    _dim(colour, bumper, 0.75)
    return colour


def _cabin(spots: Spots) -> FloatArray:
    belt, top, back, front = (spots.detail(k) for k in range(4))
    colour = spots.colour
    roof = spots.facet == TOP
    band = (spots.up > belt + 0.03) & (spots.up < top - 0.07)
    middle = back + 0.46 * (front - back)
    pillar = spots.side & ((np.abs(spots.z - middle) < 0.05) | (spots.z < back + 0.18))
    half = (spots.high(0) - spots.low(0)) / 2
    rim = ~spots.side & (np.abs(spots.x) > half - 0.12 - 0.35 * (spots.up - belt))
    glass = band & ~roof & ~pillar & ~rim & (spots.z > back - 0.6)
    height = np.clip((spots.up - belt) / np.maximum(top - belt, 0.1), 0, 1)
    shine = 0.10 + 0.16 * height + 0.03 * spots.noise(20)
    return np.where(glass, _tinted(shine, (0.9, 1.0, 1.1)), colour)


def _leaves(spots: Spots) -> FloatArray:
    fine = sample(white_tile(), (spots.x + 0.6 * spots.z) * 16, (spots.up + 0.3 * spots.z) * 16)
    blob = spots.noise(40)
    height = np.clip((spots.up - spots.low(1)) / (spots.high(1) - spots.low(1)), 0, 1)
    tone = 0.62 + 0.45 * height + 0.15 * blob + 0.5 * (fine - 0.5) * spots.fade(0.08)
    return np.asarray(np.maximum(spots.colour * tone, 0))


def _wheel(spots: Spots) -> FloatArray:
    radius = np.hypot(spots.z - spots.detail(2), spots.up - spots.detail(0))
    rim = radius < 0.62 * spots.detail(0)
    return np.where(rim, spots.accent, spots.colour)


def _slats(spots: Spots) -> FloatArray:
    gap = ((spots.across * 6.5) % 1 < 0.28) & (spots.up < spots.high(1) - 0.1)
    tone = np.where(gap, 1 - 0.55 * spots.fade(0.08), 1) * (1 + 0.05 * spots.noise(30))
    return np.asarray(spots.colour * tone)


def _cargo(spots: Spots) -> FloatArray:
    colour = spots.colour * (1 + 0.02 * spots.noise(20))
    rib = (spots.across * (1 + 2 * spots.detail(0))) % 1 < 0.04
    _dim(colour, rib, 0.88)
    share = (spots.up - spots.low(1)) / (spots.high(1) - spots.low(1))
    stripe = np.abs(share - 0.3 - 0.4 * spots.detail(1)) < 0.12 * spots.detail(2)
    letters = sample(white_tile(), spots.across * 2.2, spots.body.astype(np.float32)) > 0.45
    return np.where((stripe & letters & spots.side), spots.accent, colour)


def _sign(spots: Spots) -> FloatArray:
    size, height, middle, kind = (spots.detail(k) for k in range(4))
    x, up = np.abs(spots.x - middle), np.abs(spots.up - height)
    disc = np.hypot(x, up)
    large = kind > 1.5
    rim = np.where(kind > 0.5, disc > 0.8 * size, np.maximum(x, up) > 0.88 * size) & ~large
    mark = np.where(large, (up % 0.55 < 0.22) & (x < 1.9), disc < 0.35 * size)
    letters = sample(white_tile(), spots.x * np.where(large, 9, 14), spots.up * 3) > 0.4
    colour = np.where((mark & letters), 0.9 - 0.8 * (spots.colour > 0.7), spots.colour)
    colour = np.where(rim, spots.accent, colour)
    colour = np.where((spots.z > spots.high(2) - 0.001), 0.5, colour)
    return np.asarray(colour, np.float32)


def _concrete(spots: Spots) -> FloatArray:
    stain = sample(cloud_tile(), spots.across * 90, spots.up * 20)
    tone = 1 + 0.05 * spots.noise(25) + 0.05 * stain
    joint = spots.across % 3.0 < 0.03
    return np.asarray(spots.colour * np.where(joint, 0.75, tone))


def _trailer(spots: Spots) -> FloatArray:
    code = spots.detail(0).astype(np.int32)
    salt: FloatArray = np.asarray(512 * chance(code, 61), np.float32)
    kind = code & 7
    low, half = spots.detail(1), spots.detail(3)
    tall = spots.detail(2) - low
    share = (spots.up - low) / tall
    across = spots.across
    along = np.where(spots.side, spots.z - spots.low(2), spots.x - spots.low(0))
    wide = np.where(spots.side, spots.high(2) - spots.low(2), 2 * half)
    colour = spots.colour
    style, cut, size = (chance(code, number) for number in (5, 7, 11))
    # Two colours: a band, a slant, or the lower part.
    second = (style < 0.3) & (np.abs(share - cut) < 0.06 + 0.2 * size)
    second |= (style > 0.3) & (style < 0.45) & (along / wide + (size - 0.5) * share > cut)
    second |= (style > 0.45) & (style < 0.55) & (share < 0.15 + 0.4 * cut)
    accent = spots.accent
    colour = np.where(second, accent, colour)
    # Shapes like lettering, in a line or two.
    letter = tall * (0.07 + 0.2 * chance(code, 13))
    base = low + tall * (0.3 + 0.4 * chance(code, 17))
    row = np.floor((spots.up - base) / letter)
    first, last = 0.05 + 0.35 * chance(code, 19), 0.6 + 0.38 * chance(code, 23)
    line = (row == 0) | ((row == -2) & (chance(code, 29) > 0.5))
    line &= (along > first * wide) & (along < last * wide) & (kind != TIPPER)
    line &= chance(code, 31) + 0.25 * ~spots.side < 0.7
    u: FloatArray = np.asarray(along / letter * 5, np.float32)
    v: FloatArray = np.asarray((spots.up - base) / letter * 5, np.float32)
    strokes = sample(white_tile(), u, v + salt) > 0.42
    strokes &= (u % 4 > 1) & (v % 5 > 0.6)
    dark = np.where(chance(code, 37) < 0.4, np.float32(0.12), accent)
    ink = np.where(second, np.float32(0.85), dark)
    colour = np.where(line & strokes, ink, colour)
    tone = 1 + 0.03 * spots.noise(15)
    wave = sample(cloud_tile(), across * 55, salt) * spots.fade(0.1)
    fold = np.where(kind == CURTAIN, 0.05 * wave, np.float32(0))
    corrugated = 0.16 * (np.abs((across * 3.6) % 1 - 0.5) - 0.25) * 4 * spots.fade(0.1)
    fold += np.where((kind == CONTAINER), corrugated, np.float32(0))
    post = (kind == TIPPER) & spots.side & (across % 1.1 < 0.14)
    seam = (kind == BOX) & spots.side & (across % (0.6 + 1.4 * size) < 0.02)
    seam |= (kind == TANK) & spots.side & (across % 1.9 < 0.05)
    tone += fold - 0.25 * post - 0.2 * seam * spots.fade(0.05)
    # Dirt comes from the wheels and runs down.
    run = sample(cloud_tile(), across * 40, spots.up * 5 + salt)
    dirt = chance(code, 41)
    mud = dirt * (0.45 * np.clip(1 - 1.6 * share, 0, 1) + 0.06) * (1 + 0.35 * run)
    tone += dirt * 0.05 * run
    colour = colour * tone
    colour += (np.float32(0.22) - colour) * np.clip(mud, 0, 0.8)
    straps = (kind == CURTAIN) & spots.side & (share < 0.12) & (across % 0.65 < 0.06)
    _dim(colour, straps, 0.35)
    rim = (spots.up < low + 0.09) | (spots.up > low + tall - 0.07)
    rim |= (along < 0.07) | (along > wide - 0.07)
    rim &= kind < TIPPER
    _dim(colour, rim & (chance(code, 43) < 0.6), 0.6)
    return _rear(spots, colour, code, share)


def _rear(
    spots: Spots, colour: FloatArray, code: npt.NDArray[np.int32], share: FloatArray
) -> FloatArray:
    """Paint doors, rods and hinges on a trailer's rear, and stripes below."""
    kind = code & 7
    out = np.abs(spots.x)
    half = spots.detail(3)
    back = spots.facet == BACK
    doors = back & (kind < TIPPER)
    _dim(colour, doors & (out < 0.015), 0.3)
    rods = doors & ((np.abs(out - 0.28) < 0.02) | (np.abs(out - 0.68 * half) < 0.02))
    rods &= (share > 0.03) & (share < 0.97)
    colour = np.where(rods, 0.35 + 0.4 * chance(code, 47), colour)
    hinge = doors & (out > half - 0.2) & (out < half - 0.04) & ((share * 4.3) % 1 < 0.06)
    handle = doors & (np.abs(out - 0.34) < 0.14) & (np.abs(share - 0.22) < 0.018)
    _dim(colour, hinge | handle, 0.45)
    striped = (
        back & (kind != TANK) & (spots.up - spots.detail(1) < 0.26) & (chance(code, 53) < 0.35)
    )
    slant = ((out + spots.up) * 4) % 1 < 0.5
    warm = np.where(chance(code, 59) < 0.5, np.float32(0.75), np.float32(0.15))
    _put(colour, striped & slant, (0.72, 0.10, 0.08))
    bright = np.stack((np.full_like(warm, 0.85), 0.8 + 0 * warm, warm))
    return np.where(striped & ~slant, bright, colour)


def _barrier(spots: Spots) -> FloatArray:
    code = spots.detail(0).astype(np.int32)
    salt: FloatArray = np.asarray(512 * chance(code, 61), np.float32)
    kind = code & 7
    height = spots.detail(1)
    along: FloatArray = spots.detail(2) + spots.z
    up = spots.up
    colour, accent = spots.colour, spots.accent
    pitch = 0.1 + 0.35 * chance(code, 5)
    groove = (kind == BOARDS) & ((up / pitch) % 1 < 0.14)
    groove |= (kind == RIBS) & ((along / pitch) % 1 < 0.3)
    course = np.floor(up / 0.075)
    shift = 0.125 * (course % 2)
    groove |= (kind == BRICKS) & (((up / 0.075) % 1 < 0.16) | (((along + shift) / 0.25) % 1 < 0.06))
    brick = sample(white_tile(), (along + shift) / 0.25, course) - 0.5
    block = 1 + 2 * chance(code, 7)
    joint = (kind == BLOCKS) & ((along / block) % 1 < 0.02)
    tone = 1 + 0.05 * sample(cloud_tile(), along * 25, up * 25)
    tone += np.where(kind == BRICKS, 0.35 * brick * spots.fade(0.1), np.float32(0))
    tone -= 0.35 * groove * spots.fade(0.05) + 0.35 * joint
    run = sample(cloud_tile(), salt + along * 22, up * 5)
    tone += 0.3 * chance(code, 11) * run * np.clip(0.4 + up / height, 0, 1) * (run < 0)
    # A band or panels of another colour.
    band = (chance(code, 13) < 0.3) & (up > height * (0.4 + 0.5 * chance(code, 17)))
    panel = (chance(code, 19) < 0.25) & (
        sample(white_tile(), along * 0.25 + 0.5, np.zeros_like(up)) > 0.6
    )
    colour = np.where(band | panel, 0.5 * colour + 0.5 * accent, colour)
    # Sprayed shapes with an outline.
    blob = sample(cloud_tile(), salt + along * 16, up * 22 + salt)
    wall = (kind >= BRICKS) & (chance(code, 23) < 0.45) & (up < 2.1) & (up > 0.2)
    wall &= sample(white_tile(), along * 0.2, salt) > 0.5
    colour = np.where(wall & (blob > 0.7), accent, colour)
    _put(colour, wall & (np.abs(blob - 0.7) < 0.12), (0.1, 0.1, 0.12))
    colour = colour * tone
    foot = np.clip(0.3 - up, 0, 0.3)
    return np.asarray(colour * (1 - foot))


def _bark(spots: Spots) -> FloatArray:
    streak = sample(cloud_tile(), (spots.x + spots.z) * 150, spots.up * 30)
    return spots.colour * (1 + 0.18 * streak)


def _tinted(tone: FloatArray, colour: tuple[float, float, float]) -> FloatArray:
    return tone * np.array(colour, np.float32)[:, None]


def _put(colours: FloatArray, where: BoolArray, colour: tuple[float, float, float]) -> None:
    for channel, value in zip(colours, colour, strict=True):
        channel[where] = value


def _dim(colours: FloatArray, where: BoolArray, factor: float) -> None:
    colours *= np.where(where, np.float32(factor), np.float32(1))


_PAINTS: dict[Material, Callable[[Spots], FloatArray]] = {
    Material.PLAIN: _plain,
    Material.FACADE: _facade,
    Material.ROOF: _roof,
    Material.BODYWORK: _bodywork,
    Material.CABIN: _cabin,
    Material.LEAVES: _leaves,
    Material.WHEEL: _wheel,
    Material.SLATS: _slats,
    Material.CARGO: _cargo,
    Material.SIGN: _sign,
    Material.CONCRETE: _concrete,
    Material.BARK: _bark,
    Material.TRAILER: _trailer,
    Material.BARRIER: _barrier,
}
