"""Colours of the ground: asphalt, lines, kerbs, pavements, grass."""

import numpy as np
import numpy.typing as npt

from depthformer_core.synthetic.rendering.noise import cloud_tile, sample, white_tile
from depthformer_core.synthetic.scene.pattern_paint import paint_pattern
from depthformer_core.synthetic.scene.road import Ground
from depthformer_core.synthetic.scene.scene import Scene
from depthformer_core.types import FloatArray

_PAINT = (0.80, 0.80, 0.78)
_YELLOW = (0.78, 0.62, 0.18)


def paint_ground(
    scene: Scene,
    ground: npt.NDArray[np.uint8],
    s: FloatArray,
    t: FloatArray,
    depth: FloatArray,
) -> FloatArray:
    """Return the colours (3, N) of points on the ground, 0 to 1 in display space.

    Args:
        scene: The scene.
        ground: (N,), `Ground`.
        s: (N,), place along the road, metres.
        t: (N,), place across it, metres.
        depth: (N,), distance from the camera along its axis, metres.
    """
    shift = np.float32(scene.rough % 512)
    clouds, white = cloud_tile(), white_tile()
    coarse = sample(clouds, s * 9 + shift, t * 25)
    fine = sample(white, s * 45 + shift, t * 45) - 0.5
    fine *= np.minimum(1, np.float32(6) / depth)
    wide = sample(clouds, s * 5, t * 5 + shift)
    colours = np.empty((3, len(s)), np.float32)

    asphalt = scene.grey * (1 + 0.05 * coarse + 0.22 * fine + 0.04 * wide)
    colours[:] = asphalt
    colours[2] *= 1.015
    road = np.flatnonzero(ground == Ground.ROAD)
    if len(road):
        _paint_road(scene, colours, road, s[road], t[road], depth[road])

    grass = (ground == Ground.GRASS) | (ground == Ground.FIELD)
    pick = np.flatnonzero(grass)
    if len(pick):
        field = ground[pick] == Ground.FIELD
        rng = np.random.default_rng(scene.rough)
        green = np.array((0.30, 0.37, 0.17)) + scene.season * np.array((1.2, 0.5, 0.3))
        crop = green + rng.normal(0, 0.05, 3) + rng.choice((0.0, 0.12)) * np.array((1.0, 0.8, 0.4))
        tone = 1 + 0.14 * coarse[pick] + 0.14 * wide[pick] + 0.5 * fine[pick]
        row = np.sin(t[pick] * 5) * (0.05 * field) * np.minimum(1, 25 / depth[pick])
        tone += row
        for channel, meadow, tilled in zip(colours, green, crop, strict=True):
            channel[pick] = tone * np.where(field, np.float32(tilled), np.float32(meadow))

    for kind, pitch, colour in (
        (Ground.PAVEMENT, 2.2, (0.54, 0.53, 0.51)),
        (Ground.YARD, 3.1, (0.50, 0.47, 0.44)),
        (Ground.KERB, 1.0, (0.62, 0.61, 0.59)),
    ):
        pick = np.flatnonzero(ground == kind)
        if not len(pick):
            continue
        u, v = s[pick] * np.float32(pitch), t[pick] * np.float32(pitch)
        slab = sample(white, u, v) - 0.5
        near = np.minimum(1, np.float32(14) / depth[pick])
        joint = (u % 1 < 0.06) | (v % 1 < 0.06 * (kind != Ground.KERB))
        tone = (
            1 + 0.10 * slab * near + 0.05 * coarse[pick] + 0.12 * fine[pick] - 0.18 * joint * near
        )
        bright = 0.75 + 0.35 * ((scene.rough >> (3 * kind)) % 8) / 7
        for channel, part in zip(colours, colour, strict=True):
            channel[pick] = tone * np.float32(part * bright)
    for pattern in scene.patterns:
        paint_pattern(pattern, colours, s, t, depth)
    return np.clip(colours, 0.02, 0.95, out=colours)


def _paint_road(
    scene: Scene,
    colours: FloatArray,
    road: npt.NDArray[np.intp],
    s: FloatArray,
    t: FloatArray,
    depth: FloatArray,
) -> None:
    marking = scene.marking
    clouds = cloud_tile()
    # Wheels polish two tracks in each lane; oil darkens what is between them.
    lane = (t / np.float32(scene.lane_width)) % 1
    tracks = np.cos(lane * np.float32(4 * np.pi))
    tone = 1 - 0.035 * tracks
    # Repaired patches and tarred cracks.
    patch = sample(white_tile(), s * 0.16 + scene.rough % 97, t * 0.55)
    tone -= 0.13 * (patch > 0.96) - 0.08 * (patch < 0.03)
    crack = np.abs(sample(clouds, s * 14, t * 20 + scene.rough % 89)) < 0.012
    tone -= 0.3 * crack * np.minimum(1, 12 / depth)
    if scene.theme == "highway" and scene.rough % 3 == 0:
        tone -= 0.25 * ((s % 12.0) < 0.05)
    worn = 0.2 * sample(white_tile(), s * 50, t * 50)
    paint = _YELLOW if marking.yellow else _PAINT
    lines = np.zeros(len(s), bool)
    for place, dash in zip(marking.lines, marking.dashes, strict=True):
        line = np.abs(t - np.float32(place)) < marking.width / 2
        if dash:
            line &= (s % np.float32(marking.period)) < dash
        lines |= line
    mouth = np.zeros(len(s), bool)
    for junction in scene.junctions:
        mouth |= (s > junction.start - 1) & (s < junction.end + 1)
    lines &= ~mouth
    cover = np.where(lines, 0.92 - worn, 0).astype(np.float32)
    if marking.zebra:
        for junction in scene.junctions[::2]:
            crossing = (s > junction.start - 5.5) & (s < junction.start - 2.2) & (t % 1.0 < 0.5)
            cover = np.where(crossing, 0.85 - worn, cover)
    for left, right, period in scene.bays:
        bay = (t > left) & (t < right) & (s % np.float32(period) < 0.10) & ~mouth
        cover = np.where(bay, 0.8 - worn, cover)
    tone *= 1 - cover
    for channel, part in zip(colours, paint, strict=True):
        channel[road] = channel[road] * tone + np.float32(part) * cover
