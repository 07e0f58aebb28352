import os
from pathlib import Path
from xml.etree import ElementTree

import pytest

from depthformer_ros.messages.transport import SEGMENT, large_messages

VARIABLE = "FASTRTPS_DEFAULT_PROFILES_FILE"
NAMES = (VARIABLE, "FASTDDS_DEFAULT_PROFILES_FILE", "FASTDDS_BUILTIN_TRANSPORTS")


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (*NAMES, "ROS_LOCALHOST_ONLY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs POSIX shared memory")
def test_the_profile_makes_room_while_inside() -> None:
    with large_messages():
        profile = Path(os.environ[VARIABLE])
        sizes = [
            element.text
            for element in ElementTree.parse(profile).iter()
            if element.tag.endswith("segment_size")
        ]
    assert sizes == [str(SEGMENT)]
    assert not profile.exists()
    assert VARIABLE not in os.environ


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs POSIX shared memory")
@pytest.mark.parametrize(("value", "addresses"), [("1", ["127.0.0.1"]), ("0", []), ("", [])])
def test_what_stays_on_this_machine(
    value: str, addresses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROS_LOCALHOST_ONLY", value)
    with large_messages():
        elements = ElementTree.parse(os.environ[VARIABLE]).iter()
        assert [item.text for item in elements if item.tag.endswith("address")] == addresses


@pytest.mark.parametrize("name", NAMES)
def test_a_choice_of_the_user_stands(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "mine")
    with large_messages():
        assert {key: os.environ.get(key) for key in NAMES if key in os.environ} == {name: "mine"}


def test_a_profile_in_the_working_folder_stands(tmp_path: Path) -> None:
    (tmp_path / "DEFAULT_FASTRTPS_PROFILES.xml").touch()
    with large_messages():
        assert VARIABLE not in os.environ
