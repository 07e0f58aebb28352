"""A simulated laser scanner with 64 beams, mounted as KITTI's."""

import numpy as np

from depthformer_core.geometry.camera import Camera
from depthformer_core.synthetic.rendering.render import RenderView, trace
from depthformer_core.synthetic.scene.cast import FACETS, NOTHING, ROUND, shape_matrices
from depthformer_core.synthetic.scene.scene import Scene
from depthformer_core.synthetic.scene.solids import Material
from depthformer_core.synthetic.scene.terrain import PLAIN
from depthformer_core.types import FloatArray, FloatingArray

VELO_TO_CAMERA = np.array(
    [[0.0, -1.0, 0.0, 0.0], [0.0, 0.0, -1.0, -0.08], [1.0, 0.0, 0.0, -0.27], [0.0, 0.0, 0.0, 1.0]]
)
"""Takes points of the scanner (x forward, y left, z up) to the camera, metres."""

RANGE_NOISE = 0.02
"""Standard deviation of a range, metres."""

LONGEST = 110.0
"""Longest range, metres."""

_BEAMS = np.deg2rad(np.linspace(2.0, -24.8, 64))
_STEP = 0.1728  # degrees between two shots of a beam: 2083 in a turn
_DROPOUTS = 0.04
# The rays of a quarter turn all lie in the picture of a camera like this.
_FOCAL = 620.0
_QUARTER = Camera(1245, 515, _FOCAL, _FOCAL, 622.0, 60.0)
_REFLECTANCE = {
    Material.LEAVES: 0.35,
    Material.SIGN: 0.95,
    Material.CABIN: 0.10,
    Material.WHEEL: 0.08,
}


def scan(
    scene: Scene, pose: FloatingArray, *, rng: np.random.Generator, time: float | None = None
) -> FloatArray:
    """Simulate an instantaneous scan all around.

    Args:
        scene: The scene.
        pose: (4, 4) of the camera that the scanner sits beside, see `Scene.pose`.
        rng: Source of range noise and dropouts.
        time: Seconds since the start for traffic that moves; without, it stands still.

    Returns:
        (N, 4) float32: x, y, z in metres in the scanner's frame, and reflectance, 0 to 1.
    """
    scanner = pose @ VELO_TO_CAMERA
    azimuths = np.arange(-180.0, 180.0, _STEP)
    parts = []
    for quarter in (-90.0, 0.0, 90.0, 180.0):
        near = (azimuths - quarter + 180.0) % 360.0 - 180.0
        bearing = np.deg2rad(near[(near >= -45.0) & (near < 45.0)])
        turn = np.deg2rad(quarter)
        # A camera at the scanner's place that faces this side; azimuths grow to the left.
        aside = np.array(
            [
                [np.sin(turn), 0.0, np.cos(turn)],
                [-np.cos(turn), 0.0, np.sin(turn)],
                [0.0, -1.0, 0.0],
            ]
        )
        looking = scanner.copy()
        looking[:3, :3] = scanner[:3, :3] @ aside
        view = trace(scene, _QUARTER, looking, time=time)
        points, reflectance = _shoot(view, bearing, rng)
        parts.append(np.concatenate((points @ aside.T, reflectance[:, None]), axis=1))
    return np.asarray(np.concatenate(parts), np.float32)


def _shoot(
    view: RenderView, bearing: FloatingArray, rng: np.random.Generator
) -> tuple[FloatingArray, FloatingArray]:
    """Return points (N, 3) in the frame of the view's camera and their reflectance (N,)."""
    beam, azimuth = (part.ravel() for part in np.meshgrid(_BEAMS, bearing, indexing="ij"))
    x = -np.tan(azimuth)
    y = -np.tan(beam) / np.cos(azimuth)
    column = np.rint(x * _FOCAL + _QUARTER.cx).astype(np.intp)
    row = np.rint(y * _FOCAL + _QUARTER.cy).astype(np.intp)
    place = row * _QUARTER.width + column
    face = view.hits.face.reshape(-1)[place]
    # The pixel defines the body that a shot meets; the place is computed for the shot itself.
    nearness = np.zeros(len(place))
    reflectance = np.full(len(place), 0.25)
    number, facet = face // FACETS, face % FACETS
    rays = np.stack((x, y, np.ones_like(x)), axis=1)
    solids, eye, rotation = view.solids, view.grid.eye, view.grid.rotation

    flat = np.flatnonzero((face != NOTHING) & (facet != ROUND))
    normals = solids.normals[number[flat], facet[flat]]
    gaps = solids.offsets[number[flat], facet[flat]] - normals @ eye
    nearness[flat] = ((rays[flat] @ rotation.T) * normals).sum(1) / gaps

    curved = np.flatnonzero((face != NOTHING) & (facet == ROUND))
    centres, matrices = shape_matrices(solids, number[curved])
    centres = centres - eye
    directions = rays[curved] @ rotation.T
    polar = (matrices @ centres[..., None])[..., 0]
    outside = (polar * centres).sum(1) - 1
    half = (polar * directions).sum(1) / outside
    size = ((matrices @ directions[..., None])[..., 0] * directions).sum(1) / outside
    nearness[curved] = half + np.sqrt(np.maximum(half**2 - size, 0))

    patch = np.full(view.hits.face.size, PLAIN, np.intp)
    patch[view.ground] = view.patch
    hit_ground = np.zeros(view.hits.face.size, bool)
    hit_ground[view.ground] = True
    ground = np.flatnonzero(hit_ground[place] & (patch[place] != PLAIN))
    solved = view.terrain.coefficients[patch[place[ground]], :, 0]
    nearness[ground] = (rays[ground] * solved).sum(1)

    materials = solids.material[np.where(face == NOTHING, 0, number)]
    for kind, value in _REFLECTANCE.items():
        reflectance[(face != NOTHING) & (materials == kind)] = value
    length = np.linalg.norm(rays, axis=1)
    # No nearness, no return: as if too far away.
    distance = length / np.maximum(nearness, 1e-6)
    returned = (distance < LONGEST) & (distance > 0.9)
    # Dark and far surfaces, and glass, return less often.
    weak = 0.35 * (reflectance < 0.12) + 0.4 * np.clip((distance - 60) / 50, 0, 1) ** 2
    returned &= rng.random(len(place)) > _DROPOUTS + weak
    noisy = distance + rng.normal(0, RANGE_NOISE, len(place))
    points = (rays / length[:, None] * noisy[:, None])[returned]
    shine = np.clip(reflectance[returned] + rng.normal(0, 0.03, len(points)), 0, 1)
    return points, shine
