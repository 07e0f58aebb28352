"""Which images form which batch."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from depthformer_core.data.augment import Augmentation
from depthformer_core.data.dataset import DatasetError, Frame
from depthformer_core.data.open import open_dataset
from depthformer_core.geometry.camera import Camera
from depthformer_core.inference.view import trained_view
from depthformer_core.presets import PRESETS
from depthformer_core.training import batches as module
from depthformer_core.training.batches import (
    Batch,
    BatchSampler,
    load_batches,
    training_sample,
)
from depthformer_core.training.losses import LossName
from depthformer_core.training.presets import training_preset

AUGMENTATION = Augmentation(border="none", size=(16, 24))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of five pairs."""
    rng = np.random.default_rng(0)
    for kind in ("rgb", "depth"):
        (tmp_path / kind).mkdir()
    for index in range(5):
        picture = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
        assert cv2.imwrite(str(tmp_path / "rgb" / f"{index}.png"), picture)
        depth = rng.integers(500, 9000, (20, 30), dtype=np.uint16)
        assert cv2.imwrite(str(tmp_path / "depth" / f"{index}.png"), depth)
    return tmp_path


def load(root: Path, *, workers: int, start: int = 0, end: int = 4) -> list[Batch]:
    dataset = open_dataset("folder", root, part="train", depth_scale=1000)
    sampler = BatchSampler(len(dataset), batch_size=2, seed=1, start=start, end=end)
    loader = load_batches(
        dataset,
        model=PRESETS["debug"],
        augmentation=AUGMENTATION,
        far=0,
        sampler=sampler,
        workers=workers,
        pin_memory=False,
    )
    return list(loader)


def test_each_pass_sees_each_image_once() -> None:
    draws = [
        draw for batch in BatchSampler(5, batch_size=3, seed=0, start=0, end=5) for draw in batch
    ]
    assert [epoch for epoch, _ in draws] == [0] * 5 + [1] * 5 + [2] * 5
    orders = [tuple(index for epoch, index in draws if epoch == wanted) for wanted in range(3)]
    assert all(sorted(order) == list(range(5)) for order in orders)
    assert len(set(orders)) == 3


def test_a_later_start_does_not_change_the_rest() -> None:
    whole = list(BatchSampler(7, batch_size=3, seed=4, start=0, end=9))
    rest = BatchSampler(7, batch_size=3, seed=4, start=5, end=9)
    assert list(rest) == whole[5:]
    assert len(rest) == 4


def test_processes_share_what_one_would_see(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = list(BatchSampler(7, batch_size=4, seed=4, start=0, end=3))
    monkeypatch.setattr(module, "world_size", lambda: 2)
    shares = []
    for rank in range(2):
        monkeypatch.setattr(module, "rank", lambda rank=rank: rank)
        shares.append(list(BatchSampler(7, batch_size=2, seed=4, start=0, end=3)))
    assert [first + second for first, second in zip(*shares, strict=True)] == alone


def test_workers_change_nothing(root: Path) -> None:
    here, there = load(root, workers=0), load(root, workers=2)
    for one, other in zip(here, there, strict=True):
        assert one.files == other.files
        assert torch.equal(one.pixels, other.pixels)
        assert torch.equal(one.truth, other.truth)
    assert here[0].pixels.shape == (2, 16, 24, 3)
    assert here[0].truth.shape == (2, 1, 16, 24)


def test_augmentation_follows_pass_and_image(root: Path) -> None:
    whole = load(root, workers=0, end=5)
    rest = load(root, workers=0, start=3, end=5)
    assert all(torch.equal(a.pixels, b.pixels) for a, b in zip(whole[3:], rest, strict=True))
    first, second = (
        batch.pixels[batch.files.index(name)]
        for name in ["3.png"]
        for batch in whole
        if name in batch.files
    )
    assert not torch.equal(first, second)


def test_an_image_smaller_than_the_crop_is_named(root: Path) -> None:
    assert cv2.imwrite(str(root / "rgb" / "2.png"), np.zeros((10, 30, 3), np.uint8))
    assert cv2.imwrite(str(root / "depth" / "2.png"), np.zeros((10, 30), np.uint16))
    with pytest.raises(DatasetError, match=r"2\.png: .*10"):
        load(root, workers=0)


def frame_of(camera: Camera | None) -> Frame:
    rng = np.random.default_rng(0)
    depth = rng.uniform(1, 60, (64, 96)).astype(np.float32)
    depth[:8] = np.inf
    return Frame("0.png", rng.integers(0, 256, (64, 96, 3), dtype=np.uint8), depth, camera)


def test_sample_has_the_focal_length_of_the_network() -> None:
    model = dataclasses.replace(PRESETS["debug"], focal_length=40.0, image_width=48)
    whole = Augmentation(border="none", size=(32, 48))
    given = Camera(96, 64, 80, 80, 48, 32)
    results = [
        training_sample(
            frame_of(camera), model=model, augmentation=whole, far=0, rng=np.random.default_rng(1)
        )
        for camera in (given, None)  # unknown: taken to be as wide as the network's own
    ]
    for pixels, depth in results:
        assert pixels.shape == (32, 48, 3)
        assert depth.shape == (32, 48)
        np.testing.assert_array_equal(pixels, results[0][0])
    with pytest.raises(DatasetError, match=r"0\.png: image of 48x32 pixels"):
        training_sample(
            frame_of(given),
            model=model,
            augmentation=Augmentation(border="none", size=(64, 96)),
            far=0,
            rng=np.random.default_rng(1),
        )


@pytest.mark.parametrize("far", [0.0, 80.0])
def test_what_is_out_of_sight_is_left_out_or_far(far: float) -> None:
    _, depth = training_sample(
        frame_of(None),
        model=PRESETS["debug"],
        augmentation=Augmentation(border="none", size=(64, 96)),
        far=far,
        rng=np.random.default_rng(4),
    )
    assert np.isfinite(depth).all()
    assert (depth == far).mean() == pytest.approx(8 / 64, abs=0.04)


@pytest.mark.parametrize(("loss", "far"), [("silog", 0.0), ("log_l1", 80.0)])
def test_the_loss_decides_what_the_sky_is(loss: LossName, far: float) -> None:
    config = training_preset("debug")
    config = dataclasses.replace(config, optim=dataclasses.replace(config.optim, loss=loss))
    assert config.far == far


def camera(width: int, height: int, focal: float) -> Camera:
    return Camera(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)


@pytest.mark.parametrize(
    ("seen", "known"),
    [
        (camera(1242, 375, 721.5), 1.0),
        # Narrower: mirrored at both sides, where there is no truth.
        (camera(1600, 900, 1260.0), 458 / 621),
        # Wider and higher: cut to what the network knows, about the principal point.
        (camera(1600, 1200, 500.0), 1.0),
    ],
)
def test_cameras_of_all_kinds_are_trained_on_in_the_view_of_the_network(
    seen: Camera, known: float
) -> None:
    config = training_preset("small")
    rgb = np.random.default_rng(0).integers(0, 256, (seen.height, seen.width, 3), dtype=np.uint8)
    depth = np.full((seen.height, seen.width), 20.0, np.float32)
    pixels, truth = training_sample(
        Frame("a.png", rgb, depth, seen),
        model=config.model,
        augmentation=dataclasses.replace(config.augment, off=True),
        far=80.0,
        rng=np.random.default_rng(0),
    )
    assert pixels.shape == (185, 612, 3)
    assert truth.shape == (185, 612)
    assert (truth[:, 306] == 20).all()
    assert (truth > 0).mean() == pytest.approx(known, abs=0.03)


def test_what_is_enlarged_for_the_view_seems_nearer() -> None:
    """As in use, where the depth is multiplied by the same factor again."""
    seen = camera(400, 120, 360.8)
    rgb = np.zeros((120, 400, 3), np.uint8)
    view = trained_view(seen, PRESETS["small"])
    assert 1.2 < view.factor <= 1.3
    assert view.image(rgb).shape[:2] == view.truth(np.ones((120, 400), np.float32)).shape
    truth = view.truth(np.full((120, 400), 13.0, np.float32))
    assert truth[94, 310] == pytest.approx(13.0 / view.factor)
