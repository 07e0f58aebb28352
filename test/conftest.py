"""Fixtures shared by all tests."""

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def samples() -> Path:
    """Real KITTI, NYU and SUN RGB-D frames, which are not ours to ship."""
    folder = REPOSITORY.parent / "shared" / "samples"
    if not folder.is_dir():
        pytest.skip(f"no sample frames at {folder}")
    return folder


@pytest.fixture(scope="session")
def parity() -> Path:
    """Recorded outputs of the official release."""
    folder = REPOSITORY.parent / "shared" / "parity"
    if not folder.is_dir():
        pytest.skip(f"no recorded outputs of the official release at {folder}")
    return folder
