"""config/large_messages.xml gives a driver the room that the node gives itself."""

import os
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from depthformer_ros.messages.transport import large_messages

FILE = Path(__file__).parents[2] / "config" / "large_messages.xml"
VARIABLE = "FASTRTPS_DEFAULT_PROFILES_FILE"


def settings(file: Path) -> list[tuple[str, str]]:
    """Tags and texts of a profile, without its comments."""
    root = ElementTree.parse(file).getroot()
    return [(element.tag, (element.text or "").strip()) for element in root.iter()]


def test_it_is_the_profile_of_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with large_messages():
        if VARIABLE not in os.environ:
            pytest.skip("too little shared memory here")
        assert settings(FILE) == settings(Path(os.environ[VARIABLE]))
