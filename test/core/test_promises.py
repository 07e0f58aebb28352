"""Quality declaration, changelog and security document say what is so."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

# The requirements of REP 2004 that stand on a line of their own in the declaration.
NUMBERS = [
    *("1.i", "1.ii", "1.iii", "1.iv", "1.v", "1.vi", "2.i", "2.ii", "2.iii", "2.iv", "2.v"),
    *("3.i", "3.ii", "3.iii", "3.iv", "3.v", "4.i", "4.ii", "4.iii", "4.iv", "4.v"),
    *("5.i", "5.ii", "5.iii", "6.i", "7.i"),
]


@pytest.fixture(scope="module")
def declaration(repository: Path) -> str:
    return (repository / "QUALITY_DECLARATION.md").read_text(encoding="utf-8")


def test_declaration_covers_every_requirement(declaration: str) -> None:
    assert re.findall(r"^- \*\*(\d\.[iv]+)\b", declaration, re.M) == NUMBERS


def test_declaration_is_linked_and_its_links_exist(declaration: str, repository: Path) -> None:
    assert "(QUALITY_DECLARATION.md)" in (repository / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)", declaration):
        if "://" not in target:
            assert (repository / target).exists(), target


def test_declaration_names_every_dependency(declaration: str, repository: Path) -> None:
    root = ElementTree.parse(repository / "package.xml").getroot()
    ros = [str(item.text) for item in root.findall("exec_depend")]
    names = [name for name in ros if not name.startswith("python3-")]
    setup = (repository / "setup.py").read_text(encoding="utf-8")
    (required,) = re.findall(r"install_requires=\[(.*?)\]", setup, re.S)
    others = re.findall(r'^\s+"([a-z0-9.-]+)', required, re.M)
    assert len(names) > 10
    assert len(others) > 10
    for name in names + others:
        assert f"`{name}`" in declaration, name


def test_a_level_above_4_needs_a_stable_version(declaration: str, repository: Path) -> None:
    version = ElementTree.parse(repository / "package.xml").getroot().findtext("version")
    (level,) = re.findall(r"\*\*Quality Level (\d)\*\*", declaration)
    assert int(level) >= 4 or not str(version).startswith("0.")


def test_changelog_starts_with_the_version(repository: Path) -> None:
    version = ElementTree.parse(repository / "package.xml").getroot().findtext("version")
    text = (repository / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = [name for name in re.findall(r"^## (.*)", text, re.M) if name != "Unreleased"]
    assert sections[0].split()[0] == version
    assert len(set(sections)) == len(sections)


def test_tests_that_are_named_exist(repository: Path) -> None:
    files = {path.name: path.read_text("utf-8") for path in (repository / "test").rglob("*.py")}
    tests = {name for text in files.values() for name in re.findall(r"^def (test_\w+)", text, re.M)}
    found = 0
    for document in ("QUALITY_DECLARATION.md", "docs/reliability.md", "docs/security.md"):
        file, text = "", (repository / document).read_text("utf-8")
        for word in re.findall(r"(?:::)?\btest_\w+(?:\.py)?", text):
            found += 1
            where = f"{document}: {file}{word}"
            if word.endswith(".py"):
                file = word
                assert file in files, where
            elif word.startswith("::"):
                # It goes on with the file before it.
                assert f"def {word.removeprefix('::')}(" in files[file], where
            else:
                assert word in tests, where
    assert found > 50
