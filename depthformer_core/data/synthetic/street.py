"""A generated street with exact metric depth: a city road, houses, cars, trees, lamps.

The world's frame is x right, y down, z along the road; the road is the plane y = 0 and a camera
drives along x = 0, `CAMERA_HEIGHT` above it, looking along z.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from depthformer_core.camera import Camera
from depthformer_core.data.synthetic.drive import CAMERA_HEIGHT

Array = npt.NDArray[np.floating[Any]]
Paint = Callable[[Array, Array], Array]
"""Colours (N, 3) in [0, 1] of surface points (N, 3) with outward normals (N, 3)."""

_BLOCK = 50.0  # the street is made of pieces this long, metres
_VISIBLE = 300.0
_NEAR = 0.2
_SUN = np.array([0.62, 0.68, 0.39])  # the way light travels
_HAZE = np.array([0.78, 0.84, 0.90])
# Kerbs left and right, where the facades stand, and the line between the lanes, metres.
_KERBS = (-7.45, 3.95)
_FACADES = (-11.2, 7.7)
_MIDDLE = -1.75


@dataclass(frozen=True)
class _Solid:
    """Convex polyhedron: the points p with normal @ p <= offset for each of its planes."""

    normals: Array  # (P, 3), unit, outward
    offsets: Array  # (P,)
    bounds: Array  # (2, 3), lower and upper corner
    paint: Paint

    def hit(self, eye: Array, across: Array, down: Array) -> tuple[Array, Array]:
        """Distance along rays (across, down, 1), infinity for a miss, and normals there."""
        slopes = (
            self.normals[:, 0, None, None] * across[None, None, :]
            + self.normals[:, 1, None, None] * down[None, :, None]
            + self.normals[:, 2, None, None]
        )
        gaps = (self.offsets - self.normals @ eye)[:, None, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            times = gaps / slopes
        entering = np.where(slopes < 0, times, -np.inf)
        leaving = np.where(slopes > 0, times, np.inf)
        face = entering.argmax(axis=0)
        enter = np.take_along_axis(entering, face[None], axis=0)[0]
        missed = (enter > leaving.min(axis=0)) | ((slopes == 0) & (gaps < 0)).any(axis=0)
        return np.where(missed | (enter < _NEAR), np.inf, enter), self.normals[face]


@dataclass(frozen=True)
class _Ball:
    """Axis-parallel ellipsoid."""

    centre: Array
    radii: Array
    paint: Paint

    @property
    def bounds(self) -> Array:
        return np.stack((self.centre - self.radii, self.centre + self.radii))

    def hit(self, eye: Array, across: Array, down: Array) -> tuple[Array, Array]:
        """Distance along rays (across, down, 1), infinity for a miss, and normals there."""
        start = (eye - self.centre) / self.radii
        x, y, z = across[None, :] / self.radii[0], down[:, None] / self.radii[1], 1 / self.radii[2]
        squared = x**2 + y**2 + z**2
        half = start[0] * x + start[1] * y + start[2] * z
        root = half**2 - squared * (start @ start - 1)
        with np.errstate(invalid="ignore"):
            enter = (-half - np.sqrt(root)) / squared
        enter = np.where((root > 0) & (enter > _NEAR), enter, np.inf)
        time = np.where(np.isfinite(enter), enter, 0.0)
        where = np.stack((start[0] + time * x, start[1] + time * y, start[2] + time * z), axis=-1)
        normals = where / self.radii
        return enter, normals / np.linalg.norm(normals, axis=-1, keepdims=True)


@dataclass(frozen=True)
class _Shadow:
    """Shadow on the ground: a sheared rectangle, or the ellipse in it."""

    x: tuple[float, float]
    z: tuple[float, float]
    round: bool = False

    def covers(self, x: Array, z: Array) -> npt.NDArray[np.bool_]:
        z = z - (x - self.x[0]) * (_SUN[2] / _SUN[0])
        across = (2 * x - sum(self.x)) / (self.x[1] - self.x[0])
        along = (2 * z - sum(self.z)) / (self.z[1] - self.z[0])
        if self.round:
            return np.asarray(across**2 + along**2 < 1)
        return np.asarray(np.maximum(abs(across), abs(along)) < 1)


class Street:
    """An endless generated street.

    Args:
        seed: Streets of the same seed are equal.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._block = functools.lru_cache(maxsize=32)(functools.partial(_build_block, seed))

    def render(self, camera: Camera, position_z: float) -> tuple[npt.NDArray[np.uint8], Array]:
        """Take a picture from the middle of the right lane, looking along the road.

        Args:
            camera: The camera, `CAMERA_HEIGHT` above the road.
            position_z: Its place along the road, metres.

        Returns:
            (H, W, 3) RGB and (H, W) float32, metres along the optical axis, infinity in the sky.
        """
        eye = np.array([0.0, -CAMERA_HEIGHT, position_z])
        across = (np.arange(camera.width) - camera.cx) / camera.fx
        down = (np.arange(camera.height) - camera.cy) / camera.fy
        first = int((position_z - _BLOCK) // _BLOCK)
        last = int((position_z + _VISIBLE) // _BLOCK)
        blocks = [self._block(index) for index in range(first, last + 1)]
        solids = [solid for block in blocks for solid in block[0]]
        shadows = [shadow for block in blocks for shadow in block[1]]

        depth, colours = _road(eye, across, down, shadows)
        solids.sort(key=lambda solid: float(solid.bounds[0, 2]))  # near ones hide what follows
        for solid in solids:
            window = _window(solid.bounds - eye, camera)
            if window is None:
                continue
            columns, rows = window
            distance, normals = solid.hit(eye, across[columns], down[rows])
            seen = distance < depth[rows, columns]
            if not seen.any():
                continue
            row, column = np.nonzero(seen)
            along = distance[seen]
            rays = np.stack((across[columns][column], down[rows][row], np.ones_like(along)), -1)
            points = eye + rays * along[:, None]
            painted = solid.paint(points, normals[seen]) * _light(normals[seen])
            if solid.bounds[0, 1] > -0.2:  # low enough to lie in the shadow of others
                painted *= _shade(points[:, 0], points[:, 2], shadows)[:, None]
            depth[rows, columns][seen] = along
            colours[rows, columns][seen] = painted
        clear = np.exp(-depth / 260.0)[..., None]
        sky = _sky(across, down)
        colours = np.where(np.isinf(depth)[..., None], sky, colours * clear + _HAZE * (1 - clear))
        rgb = np.rint(255 * np.clip(colours, 0, 1)).astype(np.uint8)
        return rgb, depth.astype(np.float32)


def _build_block(seed: int, index: int) -> tuple[list[_Solid | _Ball], list[_Shadow]]:
    """What stands on the piece of street from `index` * `_BLOCK` on."""
    rng = np.random.default_rng((seed, index % 2**32))
    start = index * _BLOCK
    solids: list[_Solid | _Ball] = []
    shadows: list[_Shadow] = []
    for side, kerb, facade in zip((-1, 1), _KERBS, _FACADES, strict=True):
        edges = sorted((kerb, kerb + side * 60.0))
        pavement = ((edges[0], -0.12, start), (edges[1], 0.0, start + _BLOCK))
        solids.append(_box(*pavement, paint=_paint_pavement))
        for z in np.cumsum((0.0, *rng.dirichlet((6.0,) * 4)[:-1])) * _BLOCK + start:
            solids += _house(rng, z, facade, side, shadows)
        for z in start + np.array((2.0, 27.0)) + rng.uniform(0, 6, 2):
            solids += _tree(rng, kerb + side * 1.3, z, shadows)
        post = start + 16.0 + rng.uniform(0, 2)
        solids += _lamp(kerb + side * 0.6, post, side, shadows)
        for z in start + np.arange(4) * 12.0 + rng.uniform(1.0, 5.0, 4):
            if rng.random() < 0.7:
                middle = kerb - side * rng.uniform(1.1, 1.25)
                solids += _car(rng, middle, z, shadows, towards=side < 0)
    if rng.random() < 0.6:
        z = start + rng.uniform(20, 40)
        solids += _car(rng, 2 * _MIDDLE, z, shadows, towards=True)
    return solids, shadows


def _house(
    rng: np.random.Generator, z: float, facade: float, side: int, shadows: list[_Shadow]
) -> list[_Solid]:
    length = rng.uniform(10.5, 13.0)
    storeys = int(rng.integers(2, 5))
    height = 3.1 * storeys + 0.9
    near, far = facade + side * rng.uniform(0, 0.8), facade + side * 11.0
    lower, upper = min(near, far), max(near, far)
    palette = ((0.80, 0.72, 0.58), (0.72, 0.56, 0.44), (0.62, 0.30, 0.24), (0.78, 0.77, 0.72))
    wall = np.array(palette[rng.integers(4)]) * rng.uniform(0.85, 1.05)
    pitch, glass = rng.uniform(2.0, 2.7), rng.uniform(0.40, 0.55)
    paint = functools.partial(_paint_house, wall=wall, origin=z, pitch=pitch, glass=glass)
    ridge = height + rng.uniform(3.0, 4.5)
    # The two slopes of the roof meet over the middle of the house.
    rise, run = ridge - height, 5.8
    slopes = np.array([[-rise, -run, 0.0], [rise, -run, 0.0]]) / np.hypot(rise, run)
    offsets = slopes @ np.array([(lower + upper) / 2, -ridge, 0.0])
    tiles = np.array([0.45, 0.22, 0.17]) * rng.uniform(0.7, 1.15)
    roof = _box(
        (lower - 0.4, -ridge, z - 0.1),
        (upper + 0.4, -height, z + length + 0.1),
        paint=functools.partial(_paint_roof, tiles=tiles),
        normals=slopes,
        offsets=offsets,
    )
    if side < 0:
        reach = height * _SUN[0] / _SUN[1]
        shadows.append(_Shadow((upper, upper + reach), (z, z + length)))
    return [_box((lower, -height, z), (upper, 0.0, z + length), paint=paint), roof]


def _car(
    rng: np.random.Generator, x: float, z: float, shadows: list[_Shadow], *, towards: bool
) -> list[_Solid]:
    length, half, belt, top = rng.uniform(3.9, 4.6), 0.88, rng.uniform(0.85, 0.95), 1.45
    palette = ((0.75, 0.76, 0.78), (0.14, 0.15, 0.17), (0.55, 0.08, 0.07), (0.10, 0.20, 0.42),
               (0.85, 0.85, 0.83), (0.35, 0.37, 0.38))  # fmt: skip
    colour = np.array(palette[rng.integers(6)])
    lights = np.array((0.95, 0.95, 0.9) if towards else (0.75, 0.05, 0.04))
    body = _box(
        (x - half, -belt, z),
        (x + half, 0.0, z + length),
        paint=functools.partial(
            _paint_body, colour=colour, lights=lights, centre=x, start=z, length=length
        ),
    )
    # Windows lean: the cabin narrows from the belt line to the roof.
    front, back = (0.25, 1.0) if towards else (0.12, 0.78)
    cabin = (z + front * length, z + back * length)
    lean = np.array([[0, -0.55, -0.84], [0, -0.62, 0.78], [-0.96, -0.28, 0], [0.96, -0.28, 0]])
    edges = ((x, cabin[0]), (x, cabin[1]), (x - half, z), (x + half, z))
    glass = _box(
        (x - half, -top, cabin[0]),
        (x + half, -belt, cabin[1]),
        paint=functools.partial(_paint_cabin, colour=colour, middle=sum(cabin) / 2),
        normals=lean / np.linalg.norm(lean, axis=1, keepdims=True),
        corners=np.array([(across, -belt, along) for across, along in edges]),
    )
    shadows.append(_Shadow((x - half - 0.1, x + half + 0.9), (z - 0.15, z + length)))
    return [body, glass]


def _tree(
    rng: np.random.Generator, x: float, z: float, shadows: list[_Shadow]
) -> list[_Solid | _Ball]:
    trunk = rng.uniform(2.4, 3.2)
    bark = functools.partial(_paint_plain, colour=np.array([0.30, 0.24, 0.19]))
    parts: list[_Solid | _Ball] = [
        _box((x - 0.14, -trunk - 1.0, z - 0.14), (x + 0.14, 0.0, z + 0.14), paint=bark)
    ]
    green = np.array([0.25, 0.40, 0.13]) * rng.uniform(0.8, 1.2)
    paint = functools.partial(_paint_leaves, colour=green)
    for _ in range(6):
        radii = rng.uniform(0.9, 1.5, 3)
        centre = np.array([x, -trunk - 1.6, z]) + rng.uniform(-1.0, 1.0, 3)
        parts.append(_Ball(centre, radii, paint))
    reach = (trunk + 1.6) * _SUN[0] / _SUN[1]
    shadows.append(_Shadow((x + reach - 2.0, x + reach + 2.0), (z - 1.6, z + 2.4), round=True))
    return parts


def _lamp(x: float, z: float, side: int, shadows: list[_Shadow]) -> list[_Solid]:
    steel = functools.partial(_paint_plain, colour=np.array([0.42, 0.45, 0.46]))
    head = functools.partial(_paint_plain, colour=np.array([0.80, 0.80, 0.76]))
    tip = sorted((x, x - side * 1.7))
    lamp = sorted((x - side * 1.2, x - side * 1.9))
    shadows.append(_Shadow((x, x + 5.5), (z - 0.08, z + 0.08)))
    return [
        _box((x - 0.07, -6.2, z - 0.07), (x + 0.07, 0.0, z + 0.07), paint=steel),
        _box((tip[0], -6.25, z - 0.05), (tip[1], -6.15, z + 0.05), paint=steel),
        _box((lamp[0], -6.32, z - 0.14), (lamp[1], -6.14, z + 0.14), paint=head),
    ]


def _box(
    lower: tuple[float, float, float],
    upper: tuple[float, float, float],
    *,
    paint: Paint,
    normals: Array | None = None,
    offsets: Array | None = None,
    corners: Array | None = None,
) -> _Solid:
    """Box, cut by further planes of given offsets or through given points."""
    directions = np.concatenate((-np.eye(3), np.eye(3)))
    limits = np.concatenate((-np.array(lower), np.array(upper)))
    if normals is not None:
        if corners is not None:
            offsets = (normals * corners).sum(axis=1)
        assert offsets is not None
        directions = np.concatenate((directions, normals))
        limits = np.concatenate((limits, offsets))
    return _Solid(directions, limits, np.array((lower, upper)), paint)


def _window(bounds: Array, camera: Camera) -> tuple[slice, slice] | None:
    """Columns and rows that can show a box given relative to the eye, none if none can."""
    nearest, farthest = max(float(bounds[0, 2]), _NEAR), float(bounds[1, 2])
    if farthest <= _NEAR or nearest > _VISIBLE:
        return None
    slopes = bounds[:, None, :2] / np.array((nearest, farthest))[None, :, None]
    pixels = slopes * (camera.fx, camera.fy) + (camera.cx, camera.cy)
    left, top = np.floor(pixels.min(axis=(0, 1))).astype(int)
    right, bottom = np.ceil(pixels.max(axis=(0, 1))).astype(int) + 1
    columns = slice(max(left, 0), min(right, camera.width))
    rows = slice(max(top, 0), min(bottom, camera.height))
    return (columns, rows) if columns.start < columns.stop and rows.start < rows.stop else None


def _road(eye: Array, across: Array, down: Array, shadows: list[_Shadow]) -> tuple[Array, Array]:
    depth = np.full((len(down), len(across)), np.inf)
    colours = np.zeros((len(down), len(across), 3))
    below = down > 0
    along = -eye[1] / down[below, None]
    depth[below] = along
    x = along * across
    z = along + eye[2]
    # Grain finer than a pixel would flicker from frame to frame.
    grain = (_hash(np.floor(x / 0.06), np.floor(z / 0.06)) - 0.5) * np.minimum(1, 7 / along)
    stains = np.sin(0.9 * x + np.sin(0.31 * z)) * np.sin(0.23 * z + 1.7)
    grey = 0.36 + 0.07 * grain + 0.015 * stains
    dashes = (abs(x - _MIDDLE) < 0.07) & (z % 9.0 < 4.5)
    parking = [abs(x - kerb + np.sign(kerb) * 2.2) < 0.05 for kerb in _KERBS]
    grey = np.where(
        dashes | ((parking[0] | parking[1]) & (z % 1.6 < 0.8)), 0.82 + 0.1 * grain, grey
    )
    grey = grey * _shade(x, z, shadows) * _light(np.array([[0.0, -1.0, 0.0]]))[0, 0]
    colours[below] = grey[..., None] * (1.0, 1.0, 1.02)
    return depth, colours


def _sky(across: Array, down: Array) -> Array:
    height = np.clip(-down[:, None] + 0 * across, 0, 0.3) / 0.3
    drift = np.sin(9 * across + 2.0) * 0.5 + np.sin(23 * across + 40 * down[:, None]) * 0.25
    clouds = np.clip(0.6 * np.sin(55 * down[:, None] + 2 * drift) + 0.5 * drift, 0, 1) * height
    blue = _HAZE + (np.array([0.36, 0.58, 0.88]) - _HAZE) * height[..., None] ** 0.7
    return np.asarray(blue + (0.97 - blue) * 0.6 * clouds[..., None])


def _light(normals: Array) -> Array:
    return np.asarray(0.62 + 0.62 * np.clip(-normals @ _SUN, 0, None)[:, None])


def _shade(x: Array, z: Array, shadows: list[_Shadow]) -> Array:
    """0.55 in the shadow, 1 in the sun, for x (N, ...) and z (N, ...) of one value a row."""
    dark = np.zeros(x.shape, bool)
    row_z = z.reshape(len(z))
    for shadow in shadows:
        reach = (shadow.x[1] - shadow.x[0]) * _SUN[2] / _SUN[0]
        rows = np.flatnonzero((row_z > shadow.z[0]) & (row_z < shadow.z[1] + reach))
        if rows.size:
            dark[rows] |= shadow.covers(x[rows], z[rows])
    return np.where(dark, 0.55, 1.0)


def _hash(*cells: Array) -> Array:
    """Repeatable noise in [0, 1) of integer cells."""
    mixed = np.zeros(cells[0].shape, np.uint32)
    for cell, prime in zip(cells, (73856093, 19349663, 83492791), strict=False):
        mixed = (mixed ^ (cell.astype(np.int64).astype(np.uint32) * np.uint32(prime))) * np.uint32(
            2654435761
        )
        mixed ^= mixed >> np.uint32(15)
    return np.asarray(mixed / 2**32)


def _paint_plain(points: Array, _normals: Array, *, colour: Array) -> Array:
    return np.broadcast_to(colour, points.shape).copy()


def _paint_pavement(points: Array, _normals: Array) -> Array:
    slab = _hash(np.floor(points[:, 0] / 0.5), np.floor(points[:, 2] / 0.5))
    joint = (points[:, 0] % 0.5 < 0.03) | (points[:, 2] % 0.5 < 0.03)
    grey = np.where(joint, 0.46, 0.55 + 0.05 * slab)
    kerb = (abs(points[:, 0] - _KERBS[0]) < 0.18) | (abs(points[:, 0] - _KERBS[1]) < 0.18)
    return np.asarray(np.where(kerb, 0.66, grey)[:, None] * (1.0, 0.98, 0.94))


def _paint_house(
    points: Array, normals: Array, *, wall: Array, origin: float, pitch: float, glass: float
) -> Array:
    sideways = abs(normals[:, 0]) > 0.5  # the wall along the street; else a gable wall
    u = np.where(sideways, points[:, 2] - origin, points[:, 0] + 1000.0) / pitch
    storey = (-points[:, 1] - 0.6) / 3.1
    across, up = abs(u % 1 - 0.5), storey % 1
    opening = sideways & (storey > 0)
    door = sideways & (np.floor(u) % 4 == 2) & (-points[:, 1] < 2.3)
    frame = opening & ~door & (across < glass / 2 + 0.05) & (up > 0.22) & (up < 0.80)
    pane = opening & ~door & (across < glass / 2) & (across > 0.02) & (up > 0.26) & (up < 0.76)
    lit = _hash(np.floor(u), np.floor(storey), np.full_like(u, round(origin)))
    colours = wall * (0.97 + 0.05 * _hash(np.floor(u * 9), np.floor(storey * 12)))[:, None]
    colours[(up < 0.05) & (storey > 0.5)] = wall * 0.82
    colours[frame] = (0.88, 0.87, 0.84)
    panes = np.array([0.13, 0.17, 0.22]) + 0.22 * (lit[:, None] > 0.7) + 0.12 * up[:, None]
    colours[pane] = panes[pane]
    colours[storey < 0] = wall * 0.62
    colours[door & (across < 0.27)] = wall * 0.8
    colours[door & (across < 0.22) & (-points[:, 1] < 2.2)] = (0.24, 0.16, 0.12)
    return colours


def _paint_roof(points: Array, normals: Array, *, tiles: Array) -> Array:
    rows = points[:, 1] % 0.35 < 0.06
    patch = _hash(np.floor(points[:, 2] / 0.3), np.floor(points[:, 1] / 0.35))
    eaves = abs(normals[:, 1]) > 0.99
    brightness = np.where(rows, 0.75, 0.92 + 0.16 * patch) * np.where(eaves, 0.5, 1.0)
    return np.asarray(brightness[:, None] * tiles)


def _paint_leaves(points: Array, _normals: Array, *, colour: Array) -> Array:
    fine = _hash(*np.floor(points.T / 0.09))
    coarse = _hash(*np.floor(points.T / 0.35))
    return np.asarray((0.55 + 0.55 * fine + 0.25 * coarse)[:, None] * colour)


def _paint_body(
    points: Array,
    normals: Array,
    *,
    colour: Array,
    lights: Array,
    centre: float,
    start: float,
    length: float,
) -> Array:
    up, across = -points[:, 1], abs(points[:, 0] - centre)
    along = points[:, 2] - start
    colours = np.broadcast_to(colour, points.shape).copy()
    end = abs(normals[:, 2]) > 0.5
    side = abs(normals[:, 0]) > 0.5
    colours[side & (abs(up - 0.62) < 0.015)] *= 0.6
    colours[end & (up < 0.45)] *= 0.7
    colours[end & (abs(up - 0.68) < 0.09) & (across > 0.58)] = lights
    colours[end & (abs(up - 0.52) < 0.06) & (across < 0.26)] = (0.88, 0.88, 0.85)
    colours[up < 0.20] = (0.05, 0.05, 0.05)
    for axle in (0.19 * length, 0.80 * length):
        radius = np.hypot(along - axle, up - 0.31)
        colours[side & (radius < 0.33)] = (0.06, 0.06, 0.07)
        colours[side & (radius < 0.19)] = (0.55, 0.56, 0.57)
    colours[end & (up < 0.30) & (across > 0.62)] = (0.06, 0.06, 0.07)
    return colours


def _paint_cabin(points: Array, normals: Array, *, colour: Array, middle: float) -> Array:
    colours = np.broadcast_to(colour, points.shape).copy()
    roof = normals[:, 1] < -0.95
    glass = ~roof & (-points[:, 1] > 0.93) & (-points[:, 1] < 1.38)
    pillar = (abs(normals[:, 0]) > 0.5) & (abs(points[:, 2] - middle) < 0.05)
    colours[glass & ~pillar] = (0.10, 0.13, 0.16)
    return colours
