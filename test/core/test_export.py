"""The command `depthformer export`."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import fail

from depthformer_core import DepthFormer, DepthPredictor, create_model
from depthformer_core.calibration.calibration_file import checkpoint_sha256
from depthformer_core.checkpoint import save_checkpoint
from depthformer_core.cli import main
from depthformer_core.export import attention
from depthformer_core.export.reference import Reference
from depthformer_core.export.verify import compare
from depthformer_core.export.write import own_size
from depthformer_core.inference.sessions import Session, open_session
from depthformer_core.presets import PRESETS

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

SIZE = (64, 128)
Edit = Callable[[onnx.ModelProto], None]


def run(*arguments: object) -> None:
    main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def model() -> DepthFormer:
    torch.manual_seed(0)
    model = create_model("debug")
    # Untrained, offsets and weights of the attention are the same for all queries.
    for part in (model.neck.self_attention, model.neck.cross_attention):
        torch.nn.init.normal_(part.sampling_offsets.weight, std=0.5)
        torch.nn.init.normal_(part.attention_weights.weight, std=0.5)
    return model


@pytest.fixture(scope="module")
def checkpoint(model: DepthFormer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "mine.safetensors"
    save_checkpoint(path, model)
    return path


@pytest.fixture(scope="module")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "mine.onnx"
    # In a process of its own, as runtimes and exporter are used.
    command = [sys.executable, "-m", "depthformer_core.cli", "export"]
    arguments = [str(checkpoint), str(path), "--size", *map(str, SIZE)]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture
def edited(exported: Path, tmp_path: Path) -> Callable[[Edit], Path]:
    """Change an exported file."""

    def edit(change: Edit) -> Path:
        proto = onnx.load(exported)
        change(proto)
        path = tmp_path / "edited.onnx"
        onnx.save(proto, path)
        return path

    return edit


def shift_samples(proto: onnx.ModelProto) -> None:
    """Move the samples of the self-attention a pixel up, as a wrong grid would."""
    for tensor in proto.graph.initializer:
        if tensor.name.endswith("neck.self_attention.samples.first"):
            tensor.CopyFrom(
                onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) + 4, tensor.name)
            )
            return
    raise AssertionError("no table of first rows")


def test_file_describes_its_network(exported: Path, checkpoint: Path, model: DepthFormer) -> None:
    proto = onnx.load(exported)
    onnx.checker.check_model(proto, full_check=True)
    assert [value.name for value in proto.graph.input] == ["image"]
    assert [value.name for value in proto.graph.output] == ["depth"]
    assert {entry.version for entry in proto.opset_import} == {18}
    assert "GridSample" not in {node.op_type for node in proto.graph.node}
    texts = {entry.key: entry.value for entry in proto.metadata_props}
    assert json.loads(texts["depthformer_config"])["hahi_points"] == 2
    assert texts["depthformer_checkpoint"] == "mine.safetensors"
    assert texts["depthformer_precision"] == "float32"
    assert texts["depthformer_preset"] == "debug"
    assert texts["depthformer_weights"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert int(texts["depthformer_parameters"]) == sum(map(torch.numel, model.parameters()))
    # Where it was made is nobody's concern.
    content = exported.read_bytes()
    assert b"site-packages" not in content
    assert b".py" not in content


def test_predicts_as_pytorch_does(exported: Path, model: DepthFormer) -> None:
    session = open_session(exported, device="cpu")
    assert session.size == SIZE
    image = torch.randn(1, 3, *SIZE)
    with torch.no_grad():
        wanted = model(image).numpy()
    depth = session.run(image.numpy())["depth"]
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, wanted, rtol=1e-5, atol=1e-4)


def test_a_calibration_of_the_checkpoint_is_one_of_its_export(
    exported: Path, checkpoint: Path
) -> None:
    predictor = DepthPredictor.from_checkpoint(exported, device="cpu")
    assert predictor.weights_sha256 == checkpoint_sha256(str(checkpoint))


def test_blocks_can_be_asked_for(exported: Path) -> None:
    texts = {entry.key: entry.value for entry in onnx.load(exported).metadata_props}
    names = json.loads(texts["depthformer_blocks"])
    assert names[0] == "stem"
    assert names.index("neck.self_attention") < names.index("neck.cross_attention")
    outputs = open_session(exported, device="cpu", extra_outputs=names).run(
        np.zeros((1, 3, *SIZE), np.float32)
    )
    assert set(outputs) == {"depth", *names}
    assert outputs["stem"].shape == (1, 4, 32, 64)
    reference = Reference.decode(texts["depthformer_reference"])
    assert list(reference.blocks) == names
    assert {image.shape for image in reference.images.values()} == {(*SIZE, 3)}


def test_check_finds_it_right(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("export", "--check", exported, "--device", "cpu")
    text = capsys.readouterr().out
    assert text.count(" ok") == 4
    assert "computes what PyTorch does" in text


@pytest.mark.usefixtures("openvino")
def test_check_of_openvinos_own_format(
    exported: Path, edited: Callable[[Edit], Path], tmp_path: Path
) -> None:
    convert = (
        "import sys\n"
        "from depthformer_core.inference.sessions import without_telemetry\n"
        "with without_telemetry():\n    import openvino\n"
        "network = openvino.Core().read_model(sys.argv[1])\n"
        "openvino.save_model(network, sys.argv[2], compress_to_fp16=False)\n"
    )
    checked = []
    for source in (exported, edited(shift_samples)):
        target = str(tmp_path / f"{source.stem}.xml")
        subprocess.run([sys.executable, "-c", convert, str(source), target], check=True)
        command = [sys.executable, "-m", "depthformer_core.cli", "export", "--check", target]
        checked.append(subprocess.run(command, capture_output=True, text=True, check=False))
    assert [done.returncode for done in checked] == [0, 1]
    assert "OpenVINO" in checked[1].stderr
    assert "first block that differs: neck.self_attention (by" in checked[1].stderr


def test_check_names_the_first_block_that_differs(edited: Callable[[Edit], Path]) -> None:
    error = fail("export", "--check", edited(shift_samples), "--device", "cpu")
    assert "edited.onnx differs from PyTorch by" in error
    assert "ONNX Runtime" in error
    assert "first block that differs: neck.self_attention (by" in error


def test_check_needs_no_pytorch(exported: Path) -> None:
    code = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.partition('.')[0] in ('torch', 'torchvision', 'timm'):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "from depthformer_core.cli import main; main(sys.argv[1:])"
    )
    command = [sys.executable, "-c", code, "export", "--check", str(exported), "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "computes what PyTorch does" in done.stdout


@pytest.mark.slow
def test_planted_error_is_refused_by_name(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = attention.BilinearSamples._split

    def half_a_pixel_off(
        self: attention.BilinearSamples, offset: torch.Tensor, *rest: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return split(self, offset + 0.5, *rest)

    monkeypatch.setattr(attention.BilinearSamples, "_split", half_a_pixel_off)
    output = tmp_path / "out.onnx"
    error = fail("export", checkpoint, output, "--size", *SIZE)
    assert "out.onnx was not written: neck.self_attention differs from PyTorch by" in error
    # Whatever the attention says of itself, the whole network is compared too.
    monkeypatch.setattr("depthformer_core.export.write.check_attentions", lambda *_, **__: 0.0)
    error = fail("export", checkpoint, output, "--size", *SIZE)
    assert "first block that differs: neck.self_attention (by" in error
    assert not list(tmp_path.iterdir())
    run("export", checkpoint, output, "--size", *SIZE, "--no-verify")
    error = fail("export", "--check", output, "--device", "cpu")
    assert "first block that differs: neck.self_attention (by" in error


@pytest.mark.slow
def test_float16(checkpoint: Path, tmp_path: Path, exported: Path) -> None:
    output = tmp_path / "half.onnx"
    run("export", checkpoint, output, "--size", *SIZE, "--precision", "float16", "--blocks")
    proto = onnx.load(output)
    assert {value.type.tensor_type.elem_type for value in proto.graph.input} == {1}
    outputs = {value.name: value.type.tensor_type.elem_type for value in proto.graph.output}
    assert outputs["depth"] == 1
    texts = {entry.key: entry.value for entry in proto.metadata_props}
    assert list(outputs) == ["depth", *json.loads(texts["depthformer_blocks"])]
    kinds = {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
    assert sum(kind == 10 for kind in kinds.values()) > 50
    # Depth and coordinates stay exact.
    exact = [name for name in kinds if ".head." in name or ".locate." in name]
    assert "model.head.weight" in exact
    assert {kinds[name] for name in exact} == {1}
    run("export", "--check", output, "--device", "cpu")
    whole = {tensor.name for tensor in onnx.load(exported).graph.initializer}
    assert "model.stem.conv.weight" in whole - kinds.keys()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda proto: proto.ClearField("metadata_props"), "holds nothing to compare with"),
        (
            lambda proto: [
                setattr(entry, "value", entry.value[:-100])
                for entry in proto.metadata_props
                if entry.key == "depthformer_reference"
            ],
            "reference in the file cannot be read",
        ),
        (
            lambda proto: setattr(proto.graph.input[0], "name", "picture"),
            "edited.onnx",
        ),
    ],
    ids=["foreign", "damaged", "renamed"],
)
def test_check_of_another_file(edited: Callable[[Edit], Path], change: Edit, message: str) -> None:
    assert message in fail("export", "--check", edited(change), "--device", "cpu")


def test_errors_are_one_line(tmp_path: Path, exported: Path) -> None:
    output = tmp_path / "out.onnx"
    assert "must end in .onnx" in fail("export", "debug", tmp_path / "out.plan")
    assert "is exported already" in fail("export", exported, output)
    assert "no checkpoint at nothing" in fail("export", "nothing", output)
    assert "there is no such folder" in fail("export", "debug", tmp_path / "none" / "out.onnx")
    assert "--size must be 32 to 8192" in fail("export", "debug", output, "--size", 8, 128)
    assert "needs a CHECKPOINT" in fail("export", "debug")
    assert "--check takes no CHECKPOINT" in fail("export", "debug", output, "--check", exported)
    assert "--check takes .onnx" in fail("export", "--check", tmp_path / "model.safetensors")
    assert "no checkpoint at" in fail("export", "--check", output)
    plan = tmp_path / "mine.plan"
    assert "as mine.onnx" in fail("export", "--check", plan)
    assert "TensorRT alone" in fail("export", "--check", plan, "--device", "openvino")
    (tmp_path / "mine.onnx").write_bytes(exported.read_bytes())
    assert "no engine at" in fail("export", "--check", plan)
    plan.touch()
    assert "an engine needs TensorRT" in fail("export", "--check", plan)
    assert not output.exists()


@pytest.mark.parametrize("library", ["onnxscript", "onnxruntime"])
def test_missing_library(library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    error = fail("export", "debug", tmp_path / "out.onnx")
    assert f"export needs {library}" in error
    assert "depthformer_ros[export]" in error


def test_own_size() -> None:
    assert own_size(PRESETS["small"]) == (188, 621)
    assert own_size(PRESETS["swin_large_kitti"]) == (352, 1216)
    assert own_size(PRESETS["swin_tiny_nyu"]) == (480, 640)


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["small", "swin_tiny_kitti", "swin_tiny_nyu"])
def test_every_kind_of_network(preset: str, tmp_path: Path) -> None:
    run("export", preset, tmp_path / "out.onnx", "--size", 64, 160)


class Engine(Session):
    """A runtime that computes something else, as an engine of TensorRT may.

    Args:
        source: What opens the file, with outputs of those names.
        names: Values that are outputs.
    """

    def __init__(self, source: Path, names: list[str]) -> None:
        self.session = open_session(source, device="cpu", extra_outputs=names)
        self.runtime, self.metadata = "TensorRT 0", self.session.metadata
        self.device, self.size = self.session.device, self.session.size

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        return self.session.run(image)


def test_engine_without_blocks_names_none(edited: Callable[[Edit], Path]) -> None:
    wrong = edited(shift_samples)
    assert "unknown, since there is no output" in compare(lambda _: Engine(wrong, [])).block
    texts = {entry.key: entry.value for entry in onnx.load(wrong).metadata_props}
    names = json.loads(texts["depthformer_blocks"])
    assert compare(lambda _: Engine(wrong, names)).block.startswith("neck.self_attention (by")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_differ(exported: Path, value: float) -> None:
    class Broken(Engine):
        def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
            assert image.shape == (1, 3, *SIZE)
            return {"depth": np.full((1, 1, *SIZE), value, np.float32)}

    found = compare(lambda _: Broken(exported, []), blocks=False)
    assert len(found.exceeding) == 4
