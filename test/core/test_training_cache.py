"""Training images from a cache are the images themselves, whatever happens to its folder."""

import dataclasses
import errno
import json
import os
import shutil
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from training_runs import write_pairs

from depthformer_core.config import DepthFormerConfig
from depthformer_core.data import dataset as reading
from depthformer_core.data.augment import Augmentation
from depthformer_core.data.dataset import DatasetError, DepthDataset, Frame, Source
from depthformer_core.data.depth_png import PngDepth
from depthformer_core.data.mixed import MixedDataset
from depthformer_core.data.open import open_dataset
from depthformer_core.presets import PRESETS
from depthformer_core.training import TrainingConfig, ValidationData, train, training_preset
from depthformer_core.training import cache as module
from depthformer_core.training.batches import Batch, BatchSampler, TrainingSamples, load_batches
from depthformer_core.training.cache import ImageCache, cache_note

PLAIN = PRESETS["debug"]
HALF = dataclasses.replace(PLAIN, focal_length=40.0, image_width=48)
VIEW = dataclasses.replace(HALF, crop="view", image_height=32)
AUGMENTATION = Augmentation(border="none", size=(16, 24))


@pytest.fixture(autouse=True)
def _any_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LEFT_FREE", 0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Pairs of 48x64 pixels: the depth is sparse, dense, missing, and far in the upper half."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "pairs"
    for kind in ("rgb", "depth"):
        (folder / kind).mkdir(parents=True)
    for index, known in enumerate((0.1, 1.0, 0.0, 0.8)):
        picture = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        assert cv2.imwrite(str(folder / "rgb" / f"{index}.png"), picture)
        depth = rng.integers(500, 9000, (48, 64)) * (rng.random((48, 64)) < known)
        depth[:24] = 65535 if index == 3 else depth[:24]
        assert cv2.imwrite(str(folder / "depth" / f"{index}.png"), depth.astype(np.uint16))
    return folder


def pairs(root: Path, *, scale: float = 1000) -> DepthDataset:
    return open_dataset("folder", root, part="train", depth_scale=scale)


def samples(
    dataset: DepthDataset,
    cache: Path | None,
    *,
    model: DepthFormerConfig = HALF,
    far: float = 0.0,
) -> list[tuple[Tensor, Tensor, str]]:
    """Two passes over a dataset."""
    made = TrainingSamples(
        dataset, model=model, augmentation=AUGMENTATION, far=far, seed=0, cache=cache
    )
    return [made[epoch, index] for epoch in range(2) for index in range(len(dataset))]


def assert_equal(one: list[tuple[Tensor, Tensor, str]], other: object) -> None:
    assert isinstance(other, list)
    for (pixels, depth, file), (pixels2, depth2, file2) in zip(one, other, strict=True):
        assert file == file2
        assert pixels.dtype == pixels2.dtype == depth.dtype == depth2.dtype == torch.float32
        assert pixels.numpy().tobytes() == pixels2.numpy().tobytes()
        assert depth.numpy().tobytes() == depth2.numpy().tobytes()


def kept(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob("*") if path.is_file())


@contextmanager
def without_decoding(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def fail(path: Path) -> None:
        raise AssertionError(path)

    with monkeypatch.context() as patch:
        patch.setattr(reading, "read_rgb", fail)
        yield


@pytest.mark.parametrize("far", [0.0, 80.0])
@pytest.mark.parametrize(
    "model", [pytest.param(PLAIN, id="as stored"), pytest.param(HALF, id="half size"), VIEW]
)
def test_samples_are_equal_bit_by_bit(
    root: Path, tmp_path: Path, model: DepthFormerConfig, far: float
) -> None:
    wanted = samples(pairs(root), None, model=model, far=far)
    for _ in ("written", "read"):
        assert_equal(wanted, samples(pairs(root), tmp_path / "cache", model=model, far=far))
    assert len(kept(tmp_path / "cache")) == 4


def test_a_later_run_decodes_nothing(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = samples(pairs(root), tmp_path / "cache")
    with without_decoding(monkeypatch):
        assert_equal(wanted, samples(pairs(root), tmp_path / "cache"))


def test_sparse_depth_takes_little_space(root: Path, tmp_path: Path) -> None:
    samples(pairs(root), tmp_path / "cache", model=PLAIN)
    sizes = sorted(path.stat().st_size for path in kept(tmp_path / "cache"))
    pixels = 48 * 64
    assert sizes[0] < 3.3 * pixels
    assert sizes[1] < 3.8 * pixels
    assert sizes[3] < 7.1 * pixels


def test_zero_infinite_and_undefined_depth_come_back_as_they_were(tmp_path: Path) -> None:
    depth = np.zeros((4, 5), np.float32)
    depth[0] = -0.0, np.nan, np.inf, 1e-40, 3.0

    class Odd(DepthDataset):
        def __getitem__(self, index: int) -> Frame:
            return Frame("\udcff.png", np.zeros((4, 5, 3), np.uint8), depth, None)

        def fingerprint(self, index: int) -> str:
            return str(index)

    dataset = Odd([], name="odd", depth_format=None)
    cache = ImageCache(tmp_path, model=PLAIN, far=np.inf)
    for _ in ("written", "read"):
        frame = cache.read(dataset, 0)
        assert frame.depth.tobytes() == depth.tobytes()
        assert frame.file == "\udcff.png"


def test_an_image_that_has_changed_is_read_anew(root: Path, tmp_path: Path) -> None:
    before = samples(pairs(root), tmp_path / "cache")
    assert cv2.imwrite(str(root / "rgb" / "1.png"), np.zeros((48, 64, 3), np.uint8))
    depth = root / "depth" / "2.png"
    shutil.copy(root / "depth" / "1.png", depth)
    os.utime(depth, ns=(0, 0))
    after = samples(pairs(root), tmp_path / "cache")
    assert_equal(samples(pairs(root), None), after)
    assert not torch.equal(before[1][0], after[1][0])
    assert not torch.equal(before[2][1], after[2][1])
    assert len(kept(tmp_path / "cache")) == 6


def test_networks_scales_and_cameras_share_a_folder(root: Path, tmp_path: Path) -> None:
    def read_all(cache: Path | None) -> list[tuple[Tensor, Tensor, str]]:
        with_camera = root / "frames.csv"
        with_camera.unlink(missing_ok=True)
        read = [
            *samples(pairs(root), cache),
            *samples(pairs(root), cache, model=PLAIN),
            *samples(pairs(root), cache, model=dataclasses.replace(HALF, image_width=50)),
            *samples(pairs(root), cache, model=VIEW),
            *samples(pairs(root), cache, far=80.0),
            *samples(pairs(root, scale=256), cache),
        ]
        with_camera.write_text(
            "name,fx,fy,cx,cy\n" + "".join(f"{index},50,50,32,24\n" for index in range(4))
        )
        return [*read, *samples(pairs(root), cache)]

    wanted = read_all(None)
    for _ in ("written", "read"):
        assert_equal(wanted, read_all(tmp_path / "cache"))
    assert len(kept(tmp_path / "cache")) == 7 * 4


@pytest.mark.parametrize("damage", ["emptied", "cut", "longer", "changed", "a folder"])
def test_damaged_files_are_replaced_with_a_warning(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    cache = tmp_path / "cache"
    wanted = samples(pairs(root), cache)
    whole = {path: path.read_bytes() for path in kept(cache)}
    for path, data in whole.items():
        middle = len(data) // 2
        match damage:
            case "emptied":
                path.write_bytes(b"")
            case "cut":
                path.write_bytes(data[:-1])
            case "longer":
                path.write_bytes(data + b"0")
            case "changed":
                path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
            case "a folder":
                path.unlink()
                path.mkdir()
    with pytest.warns(RuntimeWarning, match=str(cache)):
        assert_equal(wanted, samples(pairs(root), cache))
    if damage != "a folder":
        assert {path: path.read_bytes() for path in kept(cache)} == whole
        with without_decoding(monkeypatch):
            assert_equal(wanted, samples(pairs(root), cache))


def test_a_full_disk_ends_the_keeping_and_not_the_run(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.warns(RuntimeWarning, match="No space left") as warnings:
        assert_equal(samples(pairs(root), None), samples(pairs(root), cache))
    assert len(warnings) == 1
    assert str(cache) in str(warnings[0].message)
    assert not kept(cache)


def test_the_run_keeps_space_for_its_state(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LEFT_FREE", 10_000_000_000)
    usage = types.SimpleNamespace(free=9_000_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.warns(RuntimeWarning, match=f"{tmp_path / 'cache'} has less than 10.0 GB free"):
        samples(pairs(root), tmp_path / "cache")
    assert not kept(tmp_path / "cache")
    usage.free = 11_000_000_000
    samples(pairs(root), tmp_path / "cache")
    assert len(kept(tmp_path / "cache")) == 4


def test_a_folder_that_cannot_be_made_is_named(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match=f"cannot make the cache {tmp_path}/file"):
        samples(pairs(root), tmp_path / "file")


def test_reading_processes_share_the_folder(root: Path, tmp_path: Path) -> None:
    def load(workers: int) -> list[Batch]:
        dataset = pairs(root)
        return list(
            load_batches(
                dataset,
                model=HALF,
                augmentation=AUGMENTATION,
                far=0,
                sampler=BatchSampler(len(dataset), batch_size=2, seed=1, start=0, end=6),
                workers=workers,
                pin_memory=False,
                cache=None if workers == 0 else tmp_path / "cache",
            )
        )

    for one, other in zip(load(0), load(2), strict=True):
        assert one.files == other.files
        assert torch.equal(one.pixels, other.pixels)
        assert torch.equal(one.truth, other.truth)
    assert len(kept(tmp_path / "cache")) == 4


def test_an_image_that_is_missing_is_an_error_though_it_is_kept(root: Path, tmp_path: Path) -> None:
    dataset = pairs(root)
    samples(dataset, tmp_path / "cache")
    (root / "rgb" / "0.png").unlink()
    with pytest.raises(DatasetError, match=r"rgb/0\.png"):
        samples(dataset, tmp_path / "cache")


def test_images_of_a_mix_are_those_of_its_datasets(root: Path, tmp_path: Path) -> None:
    class Own(DepthDataset):
        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> Frame:
            return dataclasses.replace(pairs(root)[index], file=f"own {index}")

    own = Own([], name="own", depth_format=None)
    mix = MixedDataset([own, pairs(root)], [0.5, 0.5])
    assert len(mix) == 8
    wanted = samples(mix, None)
    for _ in ("written", "read"):
        assert_equal(wanted, samples(mix, tmp_path / "cache"))
    # An image that comes up twice in a pass is kept once, and those of the own class never.
    assert len(kept(tmp_path / "cache")) == 4
    note = cache_note(configured(root, tmp_path / "run", cache=tmp_path / "cache"), mix)
    assert "when all 4 images are in it" in note
    assert note.endswith("2 other images cannot be kept")


def test_a_class_that_reads_in_its_own_way_describes_no_frame(root: Path) -> None:
    sources = [Source("0.png", root / "rgb" / "0.png", root / "depth" / "0.png")]

    class Darker(DepthDataset):
        def __getitem__(self, index: int) -> Frame:
            frame = super().__getitem__(index)
            return dataclasses.replace(frame, rgb=frame.rgb // 2)

    class Named(DepthDataset):
        """Reads as its base does."""

    def opened(kind: type[DepthDataset]) -> DepthDataset:
        return kind(sources, name="some", depth_format=PngDepth(1000))

    assert opened(Darker).fingerprint(0) is None
    assert opened(Named).fingerprint(0) == opened(DepthDataset).fingerprint(0) is not None
    generated = open_dataset("synthetic", None, part="train")
    assert generated.fingerprint(3) not in (None, generated.fingerprint(4))


def configured(root: Path, output: Path, *, cache: Path | None) -> TrainingConfig:
    config = training_preset("debug", root)
    return dataclasses.replace(
        config,
        data=dataclasses.replace(
            config.data, name="folder", depth_scale=1000, workers=0, cache=cache
        ),
        augment=dataclasses.replace(config.augment, border="none", size=(32, 48)),
        val=ValidationData(every=0),
        optim=dataclasses.replace(config.optim, iterations=4, batch_size=4, warm_up=2),
        output=output,
        device="cpu",
        precision="float32",
    )


def test_a_run_has_the_same_losses_and_resumes_with_another_cache(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pairs(tmp_path)
    losses = []
    for name, cache in (("without", None), ("with", tmp_path / "cache")):
        config = configured(tmp_path / "train", tmp_path / name, cache=cache)
        train(config)
        text = (tmp_path / name / "metrics.jsonl").read_text()
        losses.append([line["loss"] for line in map(json.loads, text.splitlines())])
    assert losses[0] == losses[1]
    assert len(losses[0]) == 4
    assert f"cache {tmp_path / 'cache'}: about 0.1 MB when all 6 images" in capsys.readouterr().out
    train(
        dataclasses.replace(
            configured(tmp_path / "train", tmp_path / "with", cache=None), resume=True
        )
    )
