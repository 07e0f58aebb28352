"""`depthformer demo`: paths, and signals."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from depthformer_core.cli import main

needs_ros = pytest.mark.skipif(
    importlib.util.find_spec("rclpy") is None, reason="ROS 2 is not installed: no rclpy"
)


@pytest.mark.parametrize("name", ["~/a.safetensors", "a.safetensors"])
def test_paths_are_absolute(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=f"no checkpoint at {tmp_path}/a.safetensors; "):
        main(["demo", "--checkpoint", name, "--output", "~/demo"])
    assert not (tmp_path / "demo").exists()


@pytest.mark.slow
@needs_ros
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    arguments = ["demo", "--checkpoint", "debug", "--output", str(tmp_path / "shown" / "demo")]
    with (tmp_path / "log").open("w") as log:
        demo = subprocess.Popen(
            [sys.executable, "-m", "depthformer_core.cli", *arguments],
            cwd=Path(__file__).parents[2],
            stderr=log,
            start_new_session=True,
        )
    try:
        while "rendering" not in (tmp_path / "log").read_text():
            assert demo.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.05)
        os.killpg(demo.pid, number)
        # Python ends by the signal itself where Ctrl-C met code that it was compiling.
        assert demo.wait(60) in (128 + number, -number)
    finally:
        demo.kill()
    assert "Traceback" not in (tmp_path / "log").read_text()
    assert list((tmp_path / "shown").iterdir()) == []
