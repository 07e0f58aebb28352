"""`depthformer synthesize`."""

import pytest

from depthformer_core.bags import BagReader
from depthformer_core.cli import main
from depthformer_core.data.open import open_dataset

SMALL = ("--width", "160", "--height", "48", "--focal", "92", "--frames", "2")


def test_bag(tmp_path, capsys):
    main(["synthesize", str(tmp_path / "bag"), *SMALL, "--seed", "3", "--theme", "rural"])
    assert "2 frames, rural" in capsys.readouterr().out
    with BagReader(tmp_path / "bag") as reader:
        (info, _) = (
            item.message() for item in reader.messages(["/kitti/camera_color_left/camera_info"])
        )
    assert (info.width, info.height) == (160, 48)
    assert info.k[0] == 92
    assert info.k[2] == pytest.approx(609.5593 * 160 / 1242)


def test_kitti(tmp_path):
    main(["synthesize", str(tmp_path / "tree"), "--form", "kitti", *SMALL, "--center", "70", "20"])
    frame = open_dataset("kitti_eigen", tmp_path / "tree", part="val")[1]
    assert (frame.camera.cx, frame.camera.cy) == (70, 20)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--frames", "0"), "got 0 and 10.0"),
        (("--width", "0"), "got 0x375"),
        (("--width", "1"), "two rows and columns, got 1x375"),
        (("--focal", "-5"), "got (-5"),
        (("--camera-height", "99"), "got 99"),
        (("--seed", "12345", "--form", "kitti", "--frames", "1"), "got seed 12345"),
        (("--seed", "-1"), "seed must not be negative, got -1"),
    ],
    ids=["frames", "size", "column", "focal", "height", "seed", "negative seed"],
)
def test_refuses(tmp_path, options, message):
    with pytest.raises(SystemExit) as caught:
        main(["synthesize", str(tmp_path / "out"), *options])
    assert message in caught.value.code
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_frames(tmp_path, capsys):
    size = ("--width", "96", "--height", "28", "--focal", "56")
    main(["synthesize-frames", str(tmp_path), "--frames", "1", "--processes", "1", *size])
    out = capsys.readouterr().out
    assert f"--data.name folder --data.root {tmp_path} --data.depth-scale 256" in out
    assert len(open_dataset("folder", tmp_path, part="train", depth_scale=256)) == 1
