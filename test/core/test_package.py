"""The package as colcon, pip and a reader of its files see it."""

import ast
import os
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml


@pytest.fixture(scope="module")
def workspace(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A colcon workspace that holds the committed and pending files of this checkout."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=repository,
        capture_output=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip(f"no git checkout: {listed.stderr.decode().strip()}")
    workspace = tmp_path_factory.mktemp("workspace")
    for name in filter(None, listed.stdout.decode().split("\0")):
        source = repository / name
        target = workspace / "src" / "depthformer_ros" / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
            target.chmod(source.stat().st_mode)
    return workspace


def colcon(workspace: Path, *arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, "-m", "colcon", *arguments],
        cwd=workspace,
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "COLCON_HOME": str(workspace / "home"),
            # Where the ROS of a virtual environment keeps its ament index.
            "AMENT_PREFIX_PATH": os.environ.get("AMENT_PREFIX_PATH", sys.prefix),
        },
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_colcon_sees_an_ament_python_package(workspace: Path) -> None:
    pytest.importorskip("colcon_ros", reason="colcon is not installed")
    assert colcon(workspace, "list").split() == [
        "depthformer_ros",
        "src/depthformer_ros",
        "(ros.ament_python)",
    ]


def test_colcon_installs_everything_and_the_node_starts(workspace: Path, repository: Path) -> None:
    pytest.importorskip("colcon_ros", reason="colcon is not installed")
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    colcon(workspace, "build")
    install = workspace / "install" / "depthformer_ros"
    share = install / "share"
    assert (share / "ament_index/resource_index/packages/depthformer_ros").is_file()
    for folder in ("launch", "config"):
        ours = {path.name for path in (repository / folder).iterdir() if path.is_file()}
        assert {path.name for path in (share / "depthformer_ros" / folder).iterdir()} == ours
        assert ours
    assert (share / "depthformer_ros/package.xml").is_file()
    executables = {path.name for path in (install / "lib/depthformer_ros").iterdir()}
    assert executables == {"depth_node", "replay", "depthformer"}

    # As `ros2 run` does: the executable, with the install space first on the path.
    (site,) = (install / "lib").glob("python*/site-packages")
    for package in ("depthformer_core", "depthformer_ros"):
        assert (site / package / "__init__.py").is_file()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "ROS_DOMAIN_ID": str(1 + os.getpid() % 100),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    }
    log = workspace / "node.log"
    with log.open("w") as output:
        node = subprocess.Popen(
            [
                install / "lib/depthformer_ros/depth_node",
                # With the weights that come with the package.
                *("--ros-args", "-p", "device:=cpu"),
            ],
            cwd=workspace,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        end = time.monotonic() + 60
        while "waiting for images" not in log.read_text():
            assert node.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        node.terminate()
        assert node.wait(timeout=20) == 0, log.read_text()
    finally:
        node.kill()


def test_manifest_is_the_source_of_name_and_version(repository: Path) -> None:
    manifest = ElementTree.parse(repository / "package.xml").getroot()
    for tag in ("name", "version"):
        result = subprocess.run(
            [sys.executable, "setup.py", f"--{tag}"],
            cwd=repository,
            capture_output=True,
            text=True,
            check=True,
        )
        assert result.stdout.split()[-1] == manifest.findtext(tag)


def test_core_imports_no_ros(repository: Path) -> None:
    ros = {"rclpy", "cv_bridge", "sensor_msgs", "std_msgs", "launch"}
    # Only these commands need the node.
    commands = {"demo.py", "doctor.py", "replay.py"}
    for path in (repository / "depthformer_core").rglob("*.py"):
        needs_node = path.parent.name == "cli" and path.name in commands
        banned = ros if needs_node else ros | {"depthformer_ros"}
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not {name.partition(".")[0] for name in names} & banned, path


def test_every_yaml_file_parses(repository: Path) -> None:
    files = [path for path in (repository / "config").iterdir() if path.suffix != ".xml"]
    assert files
    for path in files:
        assert isinstance(yaml.safe_load(path.read_text()), dict), path
