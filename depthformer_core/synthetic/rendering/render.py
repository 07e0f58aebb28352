"""Pictures of generated scenes with exact depth."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from depthformer_core.geometry.camera import Camera
from depthformer_core.synthetic.rendering.noise import cloud_tile, grain_window, sample
from depthformer_core.synthetic.rendering.shadow import ShadowMap
from depthformer_core.synthetic.scene.cast import (
    FACETS,
    NOTHING,
    ROUND,
    Grid,
    Hits,
    rasterize,
    shape_matrices,
    visible_shapes,
)
from depthformer_core.synthetic.scene.paint import Spots, paint, paint_table
from depthformer_core.synthetic.scene.road import Ground
from depthformer_core.synthetic.scene.scene import Scene
from depthformer_core.synthetic.scene.solids import Solids
from depthformer_core.synthetic.scene.surface import paint_ground
from depthformer_core.synthetic.scene.terrain import PLAIN, TerrainView
from depthformer_core.types import FloatArray, FloatingArray

FARTHEST = 300.0
"""Bodies that begin beyond this depth are not drawn, metres."""


@dataclass(frozen=True)
class RenderView:
    """Hits of a camera's rays in a scene.

    Attributes:
        grid: The camera's rays.
        solids: The bodies.
        terrain: The ground.
        hits: Bodies that are met; `hits.nearness` holds the ground's too.
        ground: (N,), rays that meet the ground, counted row by row.
        patch: (N,), triangle of the ground that they meet.
    """

    grid: Grid
    solids: Solids
    terrain: TerrainView
    hits: Hits
    ground: npt.NDArray[np.intp]
    patch: npt.NDArray[np.intp]


def trace(
    scene: Scene, camera: Camera, pose: FloatingArray, *, time: float | None = None
) -> RenderView:
    """Cast a camera's rays at a scene.

    Args:
        scene: The scene.
        camera: The camera.
        pose: (4, 4), takes points from the camera to the world.
        time: Seconds since the start for traffic that moves; without, it stands still.
    """
    across = ((np.arange(camera.width) - camera.cx) / camera.fx).astype(np.float32)
    down = ((np.arange(camera.height) - camera.cy) / camera.fy).astype(np.float32)
    grid = Grid(pose[:3, 3], pose[:3, :3], across, down)
    solids = scene.solids(time)
    size = (camera.height, camera.width)
    hits = Hits(np.zeros(size, np.float32), np.full(size, NOTHING, np.int32))
    rasterize(hits, visible_shapes(grid, solids, farthest=FARTHEST), across, down)
    terrain = TerrainView(scene.road, grid, plain=scene.plain)
    ground = terrain.cast()
    nearness = hits.nearness.reshape(-1)
    first = ground.nearness > nearness[ground.place]
    place = ground.place[first]
    nearness[place] = ground.nearness[first]
    hits.face.reshape(-1)[place] = NOTHING
    return RenderView(grid, solids, terrain, hits, place, ground.patch[first])


def render(
    scene: Scene, camera: Camera, pose: FloatingArray, *, time: float | None = None, grain: int = 0
) -> tuple[npt.NDArray[np.uint8], FloatArray]:
    """Render a picture.

    Args:
        scene: The scene.
        camera: The camera.
        pose: (4, 4), takes points from the camera to the world.
        time: Seconds since the start for traffic that moves; without, it stands still.
        grain: Seed of the sensor's noise.

    Returns:
        (H, W, 3) RGB and (H, W) float32, metres along the optical axis, infinity in the sky.
    """
    view = trace(scene, camera, pose, time=time)
    rgb = _develop(scene, _colours(scene, view), grain)
    with np.errstate(divide="ignore"):
        depth = np.asarray(1 / view.hits.nearness, np.float32)
    return rgb, depth


def _colours(scene: Scene, view: RenderView) -> FloatArray:
    """Return the light that arrives from each ray, (3, H, W)."""
    grid, atmosphere = view.grid, scene.atmosphere
    height, width = view.hits.nearness.shape
    face = view.hits.face.reshape(-1)
    nearness = view.hits.nearness.reshape(-1)
    # The ray of column x and row y is (x, y, 1), turned to the world.
    turned = grid.rotation.astype(np.float32)
    rays = (turned[:, :1] * grid.across + turned[:, 2:])[:, None] + (turned[:, 1:2] * grid.down)[
        :, :, None
    ]
    rays = rays.reshape(3, -1)
    foot = float(grid.eye[1]) + 1.7
    yaw = float(np.arctan2(grid.rotation[0, 2], grid.rotation[2, 2]))
    shadows = ShadowMap(view.solids, sun=atmosphere.sun, eye=grid.eye, ground=foot, yaw=yaw)

    body = np.flatnonzero(face != NOTHING)
    place = np.concatenate((view.ground, body))
    split = len(view.ground)
    depth = np.asarray(1 / nearness.take(place), np.float32)
    points = rays.take(place, axis=1)
    points *= depth
    ground_colour, ground_light = _ground(scene, view, depth[:split], points[:, :split])
    body_colour, body_light, lift = _bodies(
        view.solids, face[body], points[:, split:], depth[split:], grid.eye, atmosphere.sun
    )
    albedo = np.concatenate((ground_colour, body_colour), axis=1)
    facing, above = np.concatenate((ground_light, body_light), axis=1)
    albedo *= albedo  # what a screen shows is about the root of the light
    points[1] -= np.float32(foot - grid.eye[1])
    # A surface must not lie in its own shadow, with cells that grow with distance.
    lift *= np.float32(0.08) + depth[split:] * np.float32(0.012)
    points[:, split:] += lift
    facing *= shadows.light(points)
    clear = np.exp(depth * np.float32(-1 / atmosphere.visibility))
    veil = 1 - clear
    picture = np.empty((3, height * width), np.float32)
    for k in range(3):
        light = facing * np.float32(atmosphere.sunlight[k])
        light += above * np.float32(atmosphere.ambient[k])
        light *= albedo[k]
        light *= clear
        light += veil * np.float32(atmosphere.horizon[k])
        picture[k][place] = light
    sky = np.flatnonzero(nearness == 0)
    if len(sky):
        picture[:, sky] = _sky(scene, *rays.take(sky, axis=1))
    return picture.reshape(3, height, width)


def _ground(
    scene: Scene, view: RenderView, depth: FloatArray, points: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return colours (3, N), and how far the ground faces the sun and the sky (2, N)."""
    patch, grid = view.patch, view.grid
    plain = patch == PLAIN
    known = np.where(plain, 0, patch)
    row, column = np.divmod(view.ground, len(grid.across))
    s, t = view.terrain.along_and_across(
        known, grid.across.take(column), grid.down.take(row), np.asarray(1 / depth)
    )
    kinds = view.terrain.paints.take(known)
    light = _towards(view.terrain.normals, scene.atmosphere.sun).take(known, axis=1)
    if plain.any():
        s[plain], t[plain] = points[2, plain], points[0, plain]
        kinds[plain] = Ground.FIELD
    return paint_ground(scene, kinds, s, t, depth), light


def _bodies(
    solids: Solids,
    face: npt.NDArray[np.int32],
    points: FloatArray,
    depth: FloatArray,
    eye: FloatingArray,
    sun: FloatingArray,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return colours (3, N), how far bodies face the sun and the sky (2, N), normals (3, N)."""
    number, facet = (face // FACETS).astype(np.intp), face % FACETS
    origin = (solids.origin - eye).astype(np.float32).T.copy()
    cosine, sine = np.cos(solids.yaw).astype(np.float32), np.sin(solids.yaw).astype(np.float32)
    away_x, away_z = points[0] - origin[0].take(number), points[2] - origin[2].take(number)
    up = origin[1].take(number) - points[1]
    c, s = cosine.take(number), sine.take(number)
    x, z = c * away_x - s * away_z, s * away_x + c * away_z
    flat = np.concatenate((solids.normals, np.zeros((len(solids), 2, 3))), axis=1).reshape(-1, 3)
    light = _towards(flat, sun).take(face, axis=1)
    normals = np.ascontiguousarray(flat.T, np.float32).take(face, axis=1)
    curved = np.flatnonzero(facet == ROUND)
    if len(curved):
        round_normals = _round_normals(solids, number[curved], points[:, curved], eye)
        light[:, curved] = _towards(round_normals, sun)
        normals[:, curved] = round_normals.T
    materials = solids.material.take(number)
    colours = np.empty((3, len(face)), np.float32)
    table = paint_table(solids)
    order = np.argsort(materials, kind="stable")
    kinds, starts = np.unique(materials[order], return_index=True)
    for kind, pick in zip(kinds.tolist(), np.split(order, starts)[1:], strict=True):
        spots = Spots(
            table=table,
            body=number.take(pick),
            facet=facet.take(pick),
            x=x.take(pick),
            up=up.take(pick),
            z=z.take(pick),
            depth=depth.take(pick),
        )
        for channel, part in zip(colours, paint(kind, spots), strict=True):
            channel[pick] = part
    return np.clip(colours, 0.01, 0.95, out=colours), light, normals


def _towards(normals: FloatingArray, sun: FloatingArray) -> FloatArray:
    """Return how far surfaces with normals (N, 3) face the sun and the sky, (2, N)."""
    facing = np.maximum(normals @ -sun, 0)
    # The upper half of the world is the brighter one.
    return np.stack((facing, 0.72 - 0.28 * normals[:, 1])).astype(np.float32)


def _round_normals(
    solids: Solids, number: npt.NDArray[np.intp], points: FloatArray, eye: FloatingArray
) -> FloatingArray:
    used, index = np.unique(number, return_inverse=True)
    centres, matrices = shape_matrices(solids, used)
    centre = (centres - eye).astype(np.float32).T
    away = points - centre.take(index, axis=1)
    small = matrices.astype(np.float32).reshape(-1, 9).T.copy()
    normals = np.stack(
        [sum(small[3 * k + m].take(index) * away[m] for m in range(3)) for k in range(3)], axis=1
    )
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    return np.asarray(normals)


def _sky(scene: Scene, x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
    """Return the colours (3, N) of rays that meet nothing."""
    atmosphere = scene.atmosphere
    flat = np.hypot(x, z)
    slope = -y / flat  # upwards
    height = np.sqrt(np.clip(slope * 2.2, 0, 1))
    # Clouds hang on a plane overhead.
    reach = 33.0 / np.maximum(slope + 0.06, 0.02) / flat
    drift = atmosphere.drift.astype(np.float32)
    clouds = sample(cloud_tile(), x * reach + drift[0], z * reach + drift[1])
    clouds += 0.4 * sample(cloud_tile(), x * reach * 3.7 + drift[1], z * reach * 3.7 + drift[0])
    cover = np.clip((clouds + 2.6 * atmosphere.clouds - 1.7) * 0.7, 0, 1)
    cover *= 0.9 * np.clip(slope * 12, 0, 1)
    shade = np.clip(0.86 + 0.08 * clouds, 0.6, 1.05)
    hills = np.zeros(len(x), bool)
    if atmosphere.hills:
        bearing = np.arctan2(x, z) * np.float32(80)
        rim = sample(cloud_tile(), bearing + drift[0], np.full_like(x, 7)) * 0.3
        rim += sample(cloud_tile(), bearing * 9, np.full_like(x, 99)) * 0.05 + 0.8
        hills = slope < rim * atmosphere.hills
    veil = 1 - np.exp(-750 / atmosphere.visibility)
    colours = np.empty((3, len(x)), np.float32)
    for k in range(3):
        sky = atmosphere.horizon[k] + (atmosphere.zenith[k] - atmosphere.horizon[k]) * height
        sky += (shade * (0.35 * atmosphere.sunlight[k] + 0.6) - sky) * cover
        sky[hills] = atmosphere.backdrop[k] * (1 - veil) + atmosphere.horizon[k] * veil
        colours[k] = sky
    return colours


def _develop(scene: Scene, light: FloatArray, grain: int) -> npt.NDArray[np.uint8]:
    """Make of light (3, H, W) what a camera makes of it, (H, W, 3), 0 to 255."""
    lens = scene.lens
    height, width = light.shape[1:]
    across = np.linspace(-1, 1, width, dtype=np.float32) ** 2
    down = np.linspace(-1, 1, height, dtype=np.float32) ** 2
    shading = 1 - lens.vignette / 2 * (down[:, None] + across)
    rng = np.random.default_rng((scene.seed, 3, grain))
    top, left = int(rng.integers(1 << 20)), int(rng.integers(1 << 20))
    channels = []
    for k in range(3):
        channel = light[k]
        channel *= shading
        channel *= np.float32(lens.exposure * lens.balance[k])
        np.clip(channel, 0, 1.2, out=channel)
        shown = cv2.GaussianBlur(channel, (5, 5), lens.blur)
        np.sqrt(shown, out=shown)
        if lens.contrast:
            curve = shown * shown
            curve *= 3 - 2 * shown
            curve -= shown
            curve *= np.float32(lens.contrast)
            shown += curve
        shown *= 255
        shown += np.float32(lens.noise) * grain_window(k, top, left, height, width)
        channels.append(cv2.convertScaleAbs(np.maximum(shown, 0, out=shown)))
    return np.asarray(cv2.merge(channels), np.uint8)
