"""Fixtures shared by all tests."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from depthformer_core import DepthFormer, create_model
from depthformer_core.checkpoint import convert_official_state_dict

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


@pytest.fixture(scope="session")
def fill(parity: Path) -> ModuleType:
    """What makes the weights and images that the official release was recorded with."""
    spec = importlib.util.spec_from_file_location("fill", parity / "fill.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def filled(fill: ModuleType, parity: Path) -> Callable[[str, str], DepthFormer]:
    """Build a preset with the recorded case's weights, converted as a user's checkpoint is."""

    def build(case: str, preset: str) -> DepthFormer:
        model = create_model(preset)
        official = fill.state_dict(parity / f"{case}.json")
        tensors = {name: torch.from_numpy(array) for name, array in official.items()}
        model.load_state_dict(convert_official_state_dict(tensors, model), strict=True)
        return model

    return build


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start what takes minutes first, and skip what needs a GPU where there is none."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))
    # Nothing waits for them at the end.
    items.sort(key=lambda item: "two_minutes" not in item.name)
