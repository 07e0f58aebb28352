"""Patterns that lie flat on the ground."""

import numpy as np
import pytest

from depthformer_core.geometry.camera import Camera
from depthformer_core.synthetic import Mount, Scene, SyntheticDataset, render
from depthformer_core.synthetic.scene.pattern_paint import paint_pattern
from depthformer_core.synthetic.scene.patterns import GAUGE, Kind, Pattern

SMALL = Camera(310, 94, 180.4, 180.4, 152.4, 43.2)
TINY = Camera(128, 40, 75.0, 75.0, 64.0, 18.0)
TRACKS = (Kind.BALLAST_TRACK, Kind.GRASS_TRACK, Kind.PAVED_TRACK, Kind.FLUSH_TRACK)


def picture(scene, camera=SMALL):
    return render(scene, camera, Mount().pose(scene, 0.0))


def pattern(kind, **values):
    middles = (0.0,) if kind in TRACKS else ()
    return Pattern(
        **{"kind": kind, "begin": -10.0, "end": 60.0, "left": -2.0, "right": 2.0}
        | {"code": 5, "middles": middles}
        | values
    )


@pytest.mark.parametrize("seed", [1, 4, 9])
def test_seed_decides(seed):
    one, other = Scene(seed, patterned=True), Scene(seed, patterned=True)
    assert one.patterns == other.patterns
    assert one.patterns != Scene(seed + 1, patterned=True).patterns
    for first, second in zip(picture(one), picture(other), strict=True):
        np.testing.assert_array_equal(first, second)


def test_none_without():
    assert Scene(4).patterns == []


@pytest.mark.parametrize("index", [1, 4, 9])
@pytest.mark.parametrize("part", ["val", "test"])
def test_val_and_test_have_none(part, index):
    frame = SyntheticDataset(part=part, camera=TINY)[index]
    seed = {"val": 2_000_000, "test": 3_000_000}[part] + index
    scene = Scene(seed)
    mount = Mount.draw(np.random.default_rng((seed, 5)))
    np.testing.assert_array_equal(frame.rgb, render(scene, TINY, mount.pose(scene, 0.0))[0])


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.name.lower())
def test_only_the_picture_changes(kind):
    scene = Scene(12)
    rgb, depth = picture(scene)
    scene.patterns = [pattern(kind)]
    painted, same = picture(scene)
    np.testing.assert_array_equal(same, depth)
    changed = (painted != rgb).any(axis=-1)
    assert changed.mean() > 0.005
    assert not changed[:30].any()  # above the horizon


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.name.lower())
def test_stays_inside(kind):
    rng = np.random.default_rng(1)
    s, t = rng.uniform((-20, -5), (80, 5), (3000, 2)).astype(np.float32).T
    depth = np.maximum(s, 2)
    before = np.full((3, 3000), 0.4, np.float32)
    after = before.copy()
    paint_pattern(pattern(kind), after, s, t, depth)
    assert np.isfinite(after).all()
    outside = (abs(t) >= 2) | (s <= -10) | (s >= 60)
    np.testing.assert_array_equal(after[:, outside], before[:, outside])
    assert (after != before).any()


@pytest.mark.parametrize("kind", TRACKS, ids=lambda kind: kind.name.lower())
def test_gauge(kind):
    t = np.linspace(-1.2, 1.2, 481, dtype=np.float32)
    profile = np.zeros(len(t))
    for s in np.linspace(3, 20, 60, dtype=np.float32):
        colours = np.full((3, len(t)), 0.3, np.float32)
        full, near = np.full_like(t, s), np.full_like(t, 3.0)
        paint_pattern(pattern(kind, code=2), colours, full, t, near)
        profile += colours.mean(axis=0) / 60
    # A dark gap or side lies inside of each rail.
    for side in (-1, 1):
        inner = abs(side * t - GAUGE / 2 + 0.02) < 0.012
        head = abs(side * t - GAUGE / 2 - 0.035) < 0.02
        assert profile[inner].mean() < 0.75 * profile[head].mean()


def test_half_of_the_scenes_have_a_track():
    scenes = [Scene(seed, patterned=True) for seed in range(40)]
    assert all(scene.patterns for scene in scenes)
    assert 0.3 < np.mean([any(p.middles for p in scene.patterns) for scene in scenes]) < 0.7


def test_nothing_stands_on_a_track_beside_the_lanes():
    cleared = 0
    for seed in range(30):
        scene = Scene(seed, patterned=True)
        for track in (p for p in scene.patterns if p.clear):
            plain = Scene(seed)
            s = np.arange(2.0, 80.0, 2.0)
            assert len(scene._static) <= len(plain._static)
            cleared += len(plain._static) - len(scene._static)
            points = np.concatenate([scene.road.place(s, t) for t in track.middles])
            points[:, 1] -= 0.9
            static = scene._static
            reach = static.normals.reshape(-1, 3) @ points.T
            away = (reach - static.offsets.reshape(-1, 1)).reshape(*static.offsets.shape, -1)
            # Bodies with a base: what hangs overhead may stay.
            inside = (away.max(axis=1) < 0) & (static.low[:, 1] < 1.5)[:, None]
            assert not inside.any(), seed
    assert cleared > 100
