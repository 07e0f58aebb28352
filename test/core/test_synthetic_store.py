"""Generated frames rendered once."""

import json

import numpy as np
import pytest

from depthformer_core.data.images import write_png
from depthformer_core.data.open import open_dataset
from depthformer_core.errors import DepthFormerError
from depthformer_core.geometry.camera import Camera
from depthformer_core.synthetic import SyntheticDataset
from depthformer_core.synthetic.store import DEPTH_SCALE, write_frames

TINY = Camera(96, 28, 56.0, 56.0, 47.0, 12.5)


def store(root, **options):
    write_frames(root, **{"part": "val", "frames": 2, "camera": TINY, "processes": 1, **options})


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    root = tmp_path_factory.mktemp("stored")
    store(root)
    return root


def test_folder_dataset_reads_it(stored):
    dataset = open_dataset("folder", stored, part="val", depth_scale=DEPTH_SCALE)
    dataset.check()
    assert len(dataset) == 2
    frame, exact = dataset[1], SyntheticDataset(part="val", camera=TINY)[1]
    assert frame.rgb.shape == (28, 96, 3)
    # The same street from the same place: averaged over four rays, and the depth of one of them.
    assert abs(frame.rgb.astype(int) - exact.rgb).mean() < 20
    both = np.isfinite(frame.depth) & np.isfinite(exact.depth)
    assert both.sum() > 1_000
    assert np.median(abs(frame.depth[both] / exact.depth[both] - 1)) < 0.05
    assert frame.depth[np.isfinite(frame.depth)].max() <= 80
    sky = np.isinf(frame.depth)
    assert 0 < sky.mean() < 1
    assert (sky == np.isinf(exact.depth)).mean() > 0.95
    assert frame.depth.min() > 0


@pytest.mark.slow
def test_goes_on_where_it_was_stopped(stored, tmp_path):
    store(tmp_path, frames=1)
    kept = tmp_path / "val" / "rgb" / "000000.png"
    write_png(kept, np.zeros((28, 96, 3), np.uint8))
    store(tmp_path)
    assert sorted(path.name for path in (tmp_path / "val" / "depth").iterdir()) == [
        "000000.png",
        "000001.png",
    ]
    one, other = (root / "val" / "rgb" / "000001.png" for root in (stored, tmp_path))
    assert one.read_bytes() == other.read_bytes()
    assert open_dataset("folder", tmp_path, part="val", depth_scale=256)[0].rgb.max() == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": 0}, "1 to 100 in part val, got 0"),
        ({"frames": 101}, "1 to 100 in part val, got 101"),
        ({"processes": 0}, "processes must be positive, got 0"),
    ],
    ids=["none", "too-many", "processes"],
)
def test_refuses(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        store(tmp_path, **options)
    assert list(tmp_path.iterdir()) == []


def test_cameras_are_not_mixed(stored):
    with pytest.raises(ValueError, match=r"frames of another camera: .*'width': 96"):
        store(stored, camera=Camera(97, 28, 56.0, 56.0, 47.0, 12.5))


@pytest.mark.parametrize(
    ("world", "found"), [({}, 1), ({"world": 1}, 1), ({"world": 99}, 99)], ids=["none", "1", "99"]
)
def test_worlds_are_not_mixed(stored, tmp_path, world, found):
    about = json.loads((stored / "val" / "frames.json").read_text())
    assert about.pop("world") == 2
    file = tmp_path / "val" / "frames.json"
    file.parent.mkdir()
    file.write_text(json.dumps({**about, **world}))
    with pytest.raises(ValueError, match=f"frames of world {found}; this is world 2"):
        store(tmp_path)
    assert [path.name for path in file.parent.iterdir()] == ["frames.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot read description {file}: "),
        (b'{"camera": ', "cannot read description {file}: "),
        (b'{"camera": "\xe4"}', "cannot read description {file}: it is not UTF-8"),
        (b"[1, 2]", "description {file} must be a JSON object, it is a list"),
    ],
    ids=["empty", "half", "Latin-1", "list"],
)
def test_damaged_description_is_named(tmp_path, content, message):
    file = tmp_path / "val" / "frames.json"
    file.parent.mkdir()
    file.write_bytes(content)
    with pytest.raises(DepthFormerError) as caught:
        store(tmp_path)
    assert message.format(file=file) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path.name for path in file.parent.iterdir()] == ["frames.json"]
    assert file.read_bytes() == content
