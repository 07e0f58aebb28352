"""Fixtures shared by all tests."""

import importlib.metadata
import importlib.util
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from depthformer_core import DepthFormer, create_model
from depthformer_core.checkpoint import convert_official_state_dict
from depthformer_core.doctor import Finding, Level

# Among hundreds of other tests OpenVINO has ended their process; tests give it one of its own.
sys.modules["openvino"] = None  # type: ignore[assignment]

REPOSITORY = Path(__file__).resolve().parent.parent

# A shell lets what it runs in the background ignore Ctrl-C, which processes of tests would inherit.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def openvino() -> None:
    """Skip where OpenVINO is not installed, which tests run in a process of its own."""
    try:
        importlib.metadata.version("openvino")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("needs OpenVINO")


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
    """Generators of the weights and images that the official release was recorded with."""
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


def _official_names(model: DepthFormer) -> dict[str, str]:
    """Official name of each of our tensors, written down apart from the converter."""
    names = {}
    for ours in model.state_dict():
        head, _, rest = ours.partition(".")
        if head == "swin":
            parts = rest.split(".")
            if parts[0] == "layers" and parts[2] == "downsample":
                name = f"backbone.stages.{int(parts[1]) - 1}." + ".".join(parts[2:])
            else:
                name = "backbone." + rest.replace("layers.", "stages.")
                for a, b in (
                    ("patch_embed.proj.", "patch_embed.projection."),
                    (".attn.", ".attn.w_msa."),
                    (".mlp.fc1.", ".ffn.layers.0.0."),
                    (".mlp.fc2.", ".ffn.layers.1."),
                    ("norms.", "norm"),
                ):
                    name = name.replace(a, b)
        elif head == "stem":
            name = "backbone." + rest.replace("conv.", "conv1.").replace("norm.", "bn1.")
        elif head == "neck":
            name = ours
            for a, b in (
                (".norm.", ".bn."),
                ("laterals.", "lateral_convs."),
                ("stage_projections.", "trans_proj."),
                ("stage_fusions.", "trans_fusion."),
                ("stem_projection.", "conv_proj.0."),
                ("stem_fusion.", "conv_fusion.0."),
                ("self_attention.", "self_attn."),
                ("cross_attention.", "multi_att."),
            ):
                name = name.replace(a, b)
        elif head == "decoder":
            if rest.startswith("bottleneck"):
                name = rest.replace("bottleneck", "decode_head.conv_list.0.conv")
            else:
                _, index, conv, kind = rest.split(".")
                name = f"decode_head.conv_list.{int(index) + 1}.conv{conv[-1].upper()}.conv.{kind}"
        else:
            name = f"decode_head.conv_depth.{rest}"
        names[ours] = name
    return names


@pytest.fixture(scope="session")
def official_state() -> Callable[[DepthFormer], dict[str, torch.Tensor]]:
    """Copies of a network's tensors by the release's names."""

    def state(model: DepthFormer) -> dict[str, torch.Tensor]:
        names = _official_names(model)
        return {names[name]: tensor.clone() for name, tensor in model.state_dict().items()}

    return state


@pytest.fixture(scope="session")
def check_findings() -> Callable[[list[Finding], dict[str, tuple[Level, str, str]]], None]:
    """Compares what is not well: level, part of what was found, part of cause or advice."""

    def check(findings: list[Finding], expected: dict[str, tuple[Level, str, str]]) -> None:
        bad = {finding.subject: finding for finding in findings if finding.level is not Level.OK}
        assert bad.keys() == expected.keys(), "\n".join(map(str, findings))
        for subject, (level, found, help_) in expected.items():
            finding = bad[subject]
            assert finding.level is level, finding
            assert found in finding.found
            assert help_ in f"{finding.cause}\n{finding.advice}"

    return check
