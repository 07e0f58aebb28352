"""The Dockerfile has the README's lines, all files of the package, and no root at run time."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

# Options of a container's build, which has nobody to ask and keeps no cache.
OPTIONS = {"--yes", "--no-install-recommends", "--no-cache-dir"}


@pytest.fixture(scope="module")
def dockerfile(repository: Path) -> str:
    return (repository / "Dockerfile").read_text("utf-8")


@pytest.fixture(scope="module")
def section(repository: Path) -> str:
    """The shell lines of the README for a robot without PyTorch."""
    readme = (repository / "README.md").read_text("utf-8")
    _, _, text = readme.partition("\n### Without PyTorch on the robot\n")
    return "\n".join(re.findall(r"```sh\n(.*?)```", text.partition("\n### ")[0], re.DOTALL))


def joined(text: str) -> str:
    """A text without comments, each continued line as one."""
    kept = [line for line in text.splitlines() if not line.startswith("#")]
    return "\n".join(kept).replace("\\\n", " ")


def instructions(dockerfile: str, name: str) -> list[str]:
    """The arguments of each instruction of one kind."""
    return re.findall(rf"^{name}\s+(.*)", joined(dockerfile), re.M)


def commands(lines: str) -> dict[str, list[str]]:
    """What apt and pip install, what colcon builds and what is launched, as words."""
    found: dict[str, list[str]] = {}
    for command in re.split(r"\n|&&", joined(lines)):
        words = [word for word in shlex.split(command) if word not in OPTIONS]
        words = words[words[:1] == ["sudo"] :]
        for kind, start in {
            "apt": ["apt", "install"],
            "pip": ["python3", "-m", "pip", "install"],
            "colcon": ["colcon"],
            "launch": ["ros2", "launch"],
        }.items():
            if words[: len(start)] == start:
                assert kind not in found, f"{kind} twice: {command}"
                found[kind] = words[len(start) :]
    return found


def readme_commands(section: str) -> dict[str, list[str]]:
    found = commands(section)
    # The folder of exported networks is the container's own.
    found["launch"] = [word.replace("$PWD/", "/networks/") for word in found["launch"]]
    return found


def dockerfile_commands(dockerfile: str) -> dict[str, list[str]]:
    lines = "\n".join(instructions(dockerfile, "RUN")).replace("apt-get install", "apt install")
    (start,) = instructions(dockerfile, "CMD")
    return commands(f"{lines}\n{shlex.join(json.loads(start))}")


def test_the_commands_are_those_of_the_readme(section: str, dockerfile: str) -> None:
    expected = readme_commands(section)
    assert sorted(expected) == ["apt", "colcon", "launch", "pip"]
    assert all(expected.values())
    assert dockerfile_commands(dockerfile) == expected


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        pytest.param("apt", "python3-tqdm ", "", id="apt package"),
        pytest.param("pip", "onnxruntime", "openvino", id="runtime"),
        pytest.param("pip", "<0.12", "<0.13", id="bound"),
        pytest.param("pip", "--user", "", id="option"),
        pytest.param("colcon", "--packages-select", "--packages-up-to", id="colcon"),
        pytest.param("launch", "image_topic:=", "image:=", id="launch"),
    ],
)
def test_a_change_on_one_side_is_found(
    section: str, dockerfile: str, kind: str, old: str, new: str
) -> None:
    expected = readme_commands(section)
    assert old in section
    assert old in dockerfile
    pattern = re.compile(rf"^(?!#)(.*){re.escape(old)}", re.M)
    changed = readme_commands(pattern.sub(rf"\1{new}", section))
    assert changed[kind] != expected[kind]
    changed = dockerfile_commands(pattern.sub(rf"\1{new}", dockerfile))
    assert changed[kind] != expected[kind]


def test_what_is_copied_is_the_whole_package(
    repository: Path, dockerfile: str, tmp_path: Path
) -> None:
    """What git has of the package, and what `setup.py` reads, is in the container."""
    copied: set[str] = set()
    for line in instructions(dockerfile, "COPY"):
        *sources, target = (word for word in line.split() if not word.startswith("--"))
        place = Path(target).relative_to("src/depthformer_ros")
        for source in sources:
            assert (repository / source).exists(), source
            # A folder's content, not the folder, is what Docker copies.
            assert str(place) == (source if (repository / source).is_dir() else "."), line
            copied.add(source)
    listed = subprocess.run(
        ["git", "ls-files"], cwd=repository, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("no git checkout")
    parts = {name.partition("/")[0] for name in listed.stdout.splitlines()}
    others = {"CHANGELOG.md", "CONTRIBUTING.md", "QUALITY_DECLARATION.md", "README.md"}
    others |= {"Dockerfile", "Makefile", "docs", "mkdocs.yml", "pyproject.toml", "test"}
    assert {part for part in parts if not part.startswith(".")} - others == copied
    # It describes itself where nothing else is.
    for name in copied:
        (tmp_path / name).symlink_to(repository / name)
    done = subprocess.run(
        [sys.executable, "setup.py", "--quiet", "--name"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split()[-1:] == ["depthformer_ros"], done.stderr


def test_it_runs_without_root_and_secrets(dockerfile: str) -> None:
    names = [line.split()[0] for line in joined(dockerfile).splitlines() if line[:1].isupper()]
    assert names.count("USER") == 1
    assert instructions(dockerfile, "USER") == ["ubuntu"]
    # As root only apt installs.
    before, _, after = joined(dockerfile).partition("\nUSER ")
    assert len(instructions(before, "RUN")) == 1
    assert "apt-get install" in before
    assert "sudo" not in dockerfile
    assert "apt-get" not in after
    assert "ARG" not in names
    assert instructions(dockerfile, "ENV") == ["PIP_BREAK_SYSTEM_PACKAGES=1"]


def test_every_network_of_the_docs_is_in_the_mounted_folder(
    repository: Path, dockerfile: str
) -> None:
    text = (repository / "docs" / "deployment.md").read_text("utf-8")
    (start,) = instructions(dockerfile, "CMD")
    assert "checkpoint:=/networks/small.onnx" in json.loads(start)
    assert re.search(r"-v \S+:/networks:ro\b", text)
