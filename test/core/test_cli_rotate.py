"""`--rotate` of the commands."""

from pathlib import Path

import numpy as np
import pytest

from depthformer_core.cli import main
from depthformer_core.data.images import write_png
from depthformer_core.inference.rotate import rotate_image
from depthformer_core.replay.job import NetworkOptions, load_network


def test_the_commands_rotate(tmp_path: Path) -> None:
    """`predict` as a whole, and the network of `replay`."""
    rgb = np.random.default_rng(0).integers(1, 256, (72, 120, 3), np.uint8)
    write_png(tmp_path / "up.png", rgb)
    write_png(tmp_path / "down.png", rotate_image(rgb, 180))
    common = ("--checkpoint", "debug", "--device", "cpu", "--output", str(tmp_path))
    main(["predict", str(tmp_path / "up.png"), *common])
    main(["predict", str(tmp_path / "down.png"), *common, "--rotate", "180"])
    up, down = (np.load(tmp_path / f"{name}_depth.npy") for name in ("up", "down"))
    np.testing.assert_array_equal(rotate_image(down, 180), up)
    network = load_network(NetworkOptions(checkpoint="debug", device="cpu", rotate=180))
    np.testing.assert_array_equal(network.predict(rotate_image(rgb, 180)).depth, down)
    with pytest.raises(SystemExit):
        main(["predict", str(tmp_path / "up.png"), *common, "--rotate", "45"])
