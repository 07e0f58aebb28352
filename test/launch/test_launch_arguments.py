from pathlib import Path
from typing import Any

import pytest

# The folder launch/ of this repository would pass for the package launch: ask for a module of it.
pytest.importorskip("launch_ros.actions", reason="needs ROS 2's launch, which PyPI does not have")

from launch_ros.actions import PushRosNamespace

from depthformer_ros.bringup.launch_arguments import (
    camera_info_topic,
    checkpoint,
    existing_path,
    image_topic,
    namespace,
    number,
    path,
    resolved,
    switch,
)
from launch import LaunchContext


def context(**arguments: str) -> Any:
    made = LaunchContext()
    made.launch_configurations.update(arguments)
    return made


@pytest.mark.parametrize("text", ["true", "True", "TRUE", "1", "yes", "on"])
def test_on(text: str) -> None:
    assert switch(context(rviz=text), "rviz") is True


@pytest.mark.parametrize("text", ["false", "False", "0", "No", "off"])
def test_off(text: str) -> None:
    assert switch(context(rviz=text), "rviz") is False


@pytest.mark.parametrize("text", ["maybe", "2", ""])
def test_neither_on_nor_off(text: str) -> None:
    with pytest.raises(ValueError, match=f"rviz must be true or false, got '{text}'"):
        switch(context(rviz=text), "rviz")


def test_numbers() -> None:
    assert number(context(rate="0.5"), "rate") == 0.5
    with pytest.raises(ValueError, match="rate must be a number, got 'fast'"):
        number(context(rate="fast"), "rate")


def test_paths_are_absolute_and_know_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir("/")
    assert path(context(bag="~/a/bag"), "bag") == tmp_path / "a/bag"
    assert path(context(bag="tmp/../bag"), "bag") == Path("/bag")
    with pytest.raises(ValueError, match=f"bag: {tmp_path}/b does not exist"):
        existing_path(context(bag="~/b"), "bag")
    (tmp_path / "b").mkdir()
    assert existing_path(context(bag="~/b"), "bag") == tmp_path / "b"


def test_checkpoints_are_presets_or_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.safetensors").touch()
    assert checkpoint(context(checkpoint="")) == ""
    assert checkpoint(context(checkpoint="small_kitti")) == "small_kitti"
    for text in ("w.safetensors", "~/w.safetensors"):
        assert checkpoint(context(checkpoint=text)) == str(tmp_path / "w.safetensors")
    for text in ("~/v.pth", "tiny"):
        file = tmp_path / text.removeprefix("~/")
        with pytest.raises(ValueError, match=f"no file {file}, and '{text}' is no preset .*small"):
            checkpoint(context(checkpoint=text))


@pytest.mark.parametrize(
    ("topic", "transport", "images", "info"),
    [
        pytest.param("/cam/image_raw", "raw", "/cam/image_raw", "/cam/camera_info", id="raw"),
        pytest.param("/image", "raw", "/image", "/camera_info", id="root"),
        pytest.param("image_raw", "raw", "image_raw", "camera_info", id="relative"),
        pytest.param("/a/b", "compressed", "/a/b/compressed", "/a/camera_info", id="compressed"),
        pytest.param(
            "/a/b/compressed", "compressed", "/a/b/compressed", "/a/camera_info", id="named so"
        ),
        pytest.param("/a/b/compressed", "raw", "/a/b/compressed", "/a/camera_info", id="by name"),
        pytest.param("b/compressed", "compressed", "b/compressed", "camera_info", id="relative so"),
    ],
)
def test_calibration_follows_the_images(topic: str, transport: str, images: str, info: str) -> None:
    arguments = {"image_topic": topic, "image_transport": transport}
    assert image_topic(context(**arguments)) == images
    assert camera_info_topic(context(**arguments, camera_info_topic="")) == info
    assert camera_info_topic(context(**arguments, camera_info_topic="/mine")) == "/mine"


@pytest.mark.parametrize(
    ("pushed", "name", "absolute"),
    [
        ("", "", "/"),
        ("", "eye", "/eye"),
        ("", "/eye/", "/eye"),
        ("robot", "", "/robot"),
        ("robot/one", "eye", "/robot/one/eye"),
        ("robot", "/eye", "/eye"),
    ],
)
def test_namespaces(pushed: str, name: str, absolute: str) -> None:
    made = context()
    if pushed:
        PushRosNamespace(pushed).visit(made)
    assert namespace(made, name) == absolute


def test_topics_in_namespaces() -> None:
    assert resolved("image", namespace="/") == "/image"
    assert resolved("image", namespace="/a/b") == "/a/b/image"
    assert resolved("/image", namespace="/a") == "/image"
