"""Queues of standing vehicles, and walls close to the road."""

import numpy as np
import pytest

from depthformer_core.geometry.camera import Camera
from depthformer_core.synthetic import Mount, Scene, SyntheticDataset, render
from depthformer_core.synthetic.scene.congestion import draw_queue
from depthformer_core.synthetic.scene.solids import Material

SMALL = Camera(310, 94, 180.4, 180.4, 152.4, 43.2)
TINY = Camera(128, 40, 75.0, 75.0, 64.0, 18.0)

# Bodies of scenes as they were before there were queues: how many, the sum of all coordinates of
# their corners, the sum of their colours.
RECORDED = {
    3: (3316, 28865004.723, 2075.4877),
    18: (3697, 29301199.217, 2418.7652),
    2_000_003: (3461, 30350182.935, 2298.6021),
    2_000_008: (3662, 28990041.241, 2318.4224),
    3_000_006: (8311, 75370459.008, 5281.215),
    3_000_023: (8113, 74737510.339, 5012.9607),
}


def summary(scene):
    solids = scene.solids()
    return len(solids), solids.corners.sum(), solids.colour.sum()


def depth_of(scene):
    return render(scene, SMALL, Mount().pose(scene, 0.0))[1]


@pytest.mark.parametrize("seed", RECORDED)
def test_other_scenes_are_what_they_were(seed):
    assert summary(Scene(seed)) == pytest.approx(RECORDED[seed], rel=1e-7)


@pytest.mark.parametrize("part", ["val", "test"])
@pytest.mark.parametrize("index", [3, 6, 8])
def test_val_and_test_have_none(part, index):
    frame = SyntheticDataset(part=part, camera=TINY)[index]
    seed = {"val": 2_000_000, "test": 3_000_000}[part] + index
    scene = Scene(seed)
    mount = Mount.draw(np.random.default_rng((seed, 5)))
    rgb, depth = render(scene, TINY, mount.pose(scene, 0.0))
    np.testing.assert_array_equal(frame.rgb, rgb)
    np.testing.assert_array_equal(frame.depth, np.where(depth > 80, np.inf, depth))


def test_shares_in_train():
    dataset = SyntheticDataset(part="train", camera=TINY)
    congested, walled, patterned = ({name: True} for name in ("congested", "walled", "patterned"))
    for index, arguments in enumerate(
        [{}, patterned, {}, congested, patterned, {}, walled, {}, congested, patterned]
    ):
        seed = 1_000_000 + index
        scene = Scene(seed, **arguments)
        mount = Mount.draw(np.random.default_rng((seed, 5)))
        rgb, _ = render(scene, TINY, mount.pose(scene, 0.0))
        np.testing.assert_array_equal(dataset[index].rgb, rgb, err_msg=str(index))


@pytest.mark.parametrize("arguments", [{"congested": True}, {"walled": True}], ids=str)
def test_seed_decides(arguments):
    assert summary(Scene(4, **arguments)) == summary(Scene(4, **arguments))
    assert summary(Scene(4, **arguments)) != summary(Scene(5, **arguments))
    assert summary(Scene(4, **arguments)) != summary(Scene(4))


def test_walls_leave_the_rest_as_it_is():
    plain, walled = Scene(12), Scene(12, walled=True)
    assert walled.theme == plain.theme
    before, after = plain.solids(), walled.solids()
    added = len(after) - len(before)
    assert added > 0
    static = len(plain._static)
    np.testing.assert_array_equal(after.corners[:static], before.corners[:static])
    np.testing.assert_array_equal(after.corners[static + added :], before.corners[static:])


@pytest.mark.slow
def test_congested_scenes_are_near():
    plain = [np.median(depth_of(Scene(seed))[35:65, 100:210]) for seed in range(16)]
    queues = [depth_of(Scene(seed, congested=True)) for seed in range(16)]
    middles = [np.median(depth[35:65, 100:210]) for depth in queues]
    assert np.median(middles) < 0.6 * np.median(plain)
    assert 0.4 < np.mean([(depth < 10).mean() for depth in queues]) < 0.75


@pytest.mark.parametrize("seed", range(24))
def test_camera_has_room(seed):
    scene = Scene(seed, congested=True, walled=True)
    eye = Mount().pose(scene, 0.0)[:3, 3]
    solids = scene.solids()
    assert ((solids.offsets - solids.normals @ eye).min(axis=1) < 0).all()
    assert depth_of(scene).min() > 0.8


@pytest.mark.parametrize("heavy", [0.0, 0.5, 1.0])
def test_gaps(heavy):
    queue = draw_queue(np.random.default_rng(1), first=4.0, end=300.0, heavy=heavy)
    assert len(queue.place) > 15
    rear, front = queue.place - queue.length / 2, queue.place + queue.length / 2
    assert rear[0] == pytest.approx(4.0)
    gaps = rear[1:] - front[:-1]
    assert gaps.min() >= 1 - 1e-9
    assert gaps.max() <= 6
    assert rear[-1] <= 300.0
    assert front[-1] > 290.0


def test_heavy_queues_have_lorries():
    light, heavy = (
        draw_queue(np.random.default_rng(2), first=0.0, end=2000.0, heavy=share).length
        for share in (0.0, 1.0)
    )
    assert (light > 5.8).mean() < 0.2
    assert (heavy > 5.8).mean() > 0.5


@pytest.mark.parametrize("seed", range(8))
def test_first_vehicle_is_close(seed):
    length = 12.0
    scene = Scene(seed, congested=True, length=length)
    solids = scene.solids()
    stands = solids.origin[solids.material == Material.WHEEL]
    s = np.arange(0.0, 60.0, 0.25)
    lane = scene.road.place(s, scene.lane)
    gaps = np.linalg.norm(lane[:, None] - stands, axis=-1).min(axis=1)
    # The middle of a vehicle; its rear is half of its length behind.
    first = s[gaps < 0.9].min()
    assert length + 3 + 1.8 < first + 0.9
    assert first < length + 15 + 8.5


@pytest.mark.parametrize("seed", range(8))
def test_vehicles_do_not_overlap(seed):
    scene = Scene(seed, congested=True)
    solids = scene.solids()
    body = np.flatnonzero(
        (solids.material == Material.BODYWORK) | (solids.material == Material.TRAILER)
    )
    body = body[abs(solids.origin[body, 1]) < 500]  # traffic out of sight is underground
    # Vehicles are distinguished by the origins of their frames.
    stands, vehicle = np.unique(solids.origin[body].round(6), axis=0, return_inverse=True)
    vehicle = vehicle.reshape(-1)
    # The camera's surroundings.
    close = np.flatnonzero(np.linalg.norm(stands[:, ::2], axis=1) < 40)
    samples = {}
    for number in close:
        mine = body[vehicle == number]
        low, high = solids.low[mine].min(axis=0), solids.high[mine].max(axis=0)
        x, z = np.meshgrid(np.linspace(low[0], high[0], 5), np.linspace(low[2], high[2], 15))
        yaw, at = solids.yaw[mine[0]], solids.origin[mine[0]]
        east = at[0] + np.cos(yaw) * x + np.sin(yaw) * z
        north = at[2] + np.cos(yaw) * z - np.sin(yaw) * x
        samples[number] = (low, high, yaw, at, east.ravel(), north.ravel())
    assert len(samples) > 1
    for one, (low, high, yaw, at, _, _) in samples.items():
        for other, (*_, east, north) in samples.items():
            if one == other:
                continue
            x = np.cos(yaw) * (east - at[0]) - np.sin(yaw) * (north - at[2])
            z = np.sin(yaw) * (east - at[0]) + np.cos(yaw) * (north - at[2])
            inside = (x > low[0]) & (x < high[0]) & (z > low[2]) & (z < high[2])
            assert inside.mean() < 0.05, (at, samples[other][3])
