"""Rays against bodies, compared with what one computes by hand."""

import numpy as np
import pytest

from depthformer_core.synthetic.scene.cast import NOTHING, Grid, Hits, rasterize, visible_shapes
from depthformer_core.synthetic.scene.solids import BACK, TOP, Builder, Material

ACROSS = np.linspace(-0.8, 0.8, 161).astype(np.float32)
DOWN = np.linspace(-0.4, 0.4, 81).astype(np.float32)


def cast(builder, *, eye=(0, 0, 0), rotation=None):
    grid = Grid(np.array(eye, float), np.eye(3) if rotation is None else rotation, ACROSS, DOWN)
    hits = Hits(np.zeros((81, 161), np.float32), np.full((81, 161), NOTHING, np.int32))
    rasterize(hits, visible_shapes(grid, builder.build(), farthest=300), ACROSS, DOWN)
    return hits


def tilt(yaw, pitch):
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    return np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]]) @ np.array(
        [[1, 0, 0], [0, cp, -sp], [0, sp, cp]]
    )


def test_block_by_hand():
    builder = Builder()
    # Two metres high, on ground that lies a metre below the eye; its front is 10 m away.
    builder.add(
        Material.PLAIN,
        origin=np.array([[0.0, 1.0, 11.0]]),
        yaw=0.0,
        low=(-2, 0, -1),
        high=(2, 2.0, 1),
        colour=(1, 1, 1),
    )
    hits = cast(builder)
    x, y = np.meshgrid(ACROSS, DOWN)
    front = (abs(x) < 0.2) & (abs(y) < 0.1)
    np.testing.assert_allclose(hits.nearness[front], 0.1, rtol=1e-6)
    assert (hits.face[front] == BACK).all()
    outside = (abs(x) > 0.2 + 1e-6) | (abs(y) > 0.1 + 1e-6)
    assert (hits.nearness[outside] == 0).all()
    assert (hits.face[outside] == NOTHING).all()


def test_top_of_a_block():
    builder = Builder()
    builder.add(
        Material.PLAIN,
        origin=np.array([[0.0, 2.0, 10.0]]),
        yaw=0.0,
        low=(-5, 0, -4),
        high=(5, 1.0, 4),
        colour=(1, 1, 1),
    )
    hits = cast(builder)
    row = 60  # slope 0.2: the plane a metre below is met 5 m away
    assert hits.face[row + 2, 80] == BACK
    assert hits.face[55, 80] == TOP
    np.testing.assert_allclose(hits.nearness[55, 80], DOWN[55] / 1.0, rtol=1e-5)


def test_ball_by_hand():
    builder = Builder()
    builder.add(
        Material.PLAIN,
        origin=np.array([[0.0, 0.0, 10.0]]),
        yaw=0.4,
        low=(-1, -1, -1),
        high=(1, 1, 1),
        colour=(1, 1, 1),
        round_body=True,
    )
    hits = cast(builder)
    x, y = np.meshgrid(ACROSS.astype(float), DOWN.astype(float))
    square = 1 + x**2 + y**2
    radicand = 100 - square * 99
    depth = (10 - np.sqrt(np.maximum(radicand, 0))) / square
    np.testing.assert_allclose(hits.nearness[radicand > 1], 1 / depth[radicand > 1], rtol=1e-5)
    assert (hits.nearness[radicand < -0.01] == 0).all()


@pytest.mark.parametrize("seed", range(4))
def test_many_bodies_against_every_plane_of_each_ray(seed):
    """Windows, order and early ends change nothing about what is met first."""
    rng = np.random.default_rng(seed)
    count = 60
    size = rng.uniform(0.2, 3.0, (count, 3))
    builder = Builder()
    builder.add(
        Material.PLAIN,
        origin=np.stack(
            (rng.uniform(-15, 15, count), rng.uniform(-2, 4, count), rng.uniform(-3, 40, count)), 1
        ),
        yaw=rng.uniform(-3, 3, count),
        low=-size,
        high=size,
        inset=rng.uniform(0, 0.15, (count, 4)),
        colour=(1, 1, 1),
    )
    rotation = tilt(*rng.uniform(-0.3, 0.3, 2))
    solids = builder.build()
    inside = (solids.offsets > 0).all(axis=1)
    hits = cast(builder, rotation=rotation)
    x, y = np.meshgrid(ACROSS.astype(float), DOWN.astype(float))
    rays = np.stack((x, y, np.ones_like(x)), -1) @ rotation.T
    nearest = np.full(x.shape, np.inf)
    for normals, offsets in zip(solids.normals[~inside], solids.offsets[~inside], strict=True):
        speed = rays @ normals.T
        times = offsets / speed
        enter = np.where(speed < 0, times, -np.inf).max(-1)
        exit_ = np.where(speed > 0, times, np.inf).min(-1)
        met = (enter < exit_) & (enter > 0.3)
        nearest = np.where(met & (enter < nearest), enter, nearest)
    expected = 1 / nearest
    differing = ~np.isclose(hits.nearness, expected, rtol=1e-4)
    # Rays along an edge may fall on either side of it.
    assert differing.mean() < 0.002
