"""`depthformer export`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from depthformer_core.errors import DepthFormerError

if TYPE_CHECKING:
    from depthformer_core.export.verify import Comparison
    from depthformer_core.inference.sessions import Session


@dataclass(frozen=True)
class ExportOptions:
    """Write a network as an ONNX file that runs without PyTorch, once it is verified against it.

    The file is for one size of image, which the rest of this package resizes to. With --check, a
    file or an engine made from it is compared on this machine with what PyTorch computed.
    """

    checkpoint: tyro.conf.Positional[Annotated[str | None, tyro.conf.arg(metavar="CHECKPOINT")]] = (
        None
    )
    """A safetensors file, one of the official release (.pth), or the name of a preset."""
    output: tyro.conf.Positional[Annotated[Path | None, tyro.conf.arg(metavar="OUT.onnx")]] = None
    """The ONNX file to write."""
    size: Annotated[tuple[int, int] | None, tyro.conf.arg(metavar="HEIGHT WIDTH")] = None
    """HEIGHT and WIDTH of the images, pixels. Without: those that the network was trained on, as it
    reads them."""
    precision: Literal["float32", "float16"] = "float32"
    """Number format. In float16 depth, coordinates, sums and norms stay float32."""
    verify: bool = True
    """Compare the file with PyTorch before it is written, by ONNX Runtime and, where it is
    installed, OpenVINO; a file that differs is not written."""
    blocks: bool = False
    """Make what every block of the network computes an output too: an engine of TensorRT built from
    the file can then be checked block by block."""
    check: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Check this file (.onnx, .xml of OpenVINO) or engine of TensorRT (.plan or .engine, with the
    ONNX file of the same name beside it) instead of writing one. PyTorch is not needed."""
    device: str = "auto"
    """What checks a file: auto, cpu, cuda, tensorrt or openvino."""


def export(options: ExportOptions) -> None:
    """Run `depthformer export`."""
    if options.check is not None:
        if options.checkpoint is not None:
            raise DepthFormerError("--check takes no CHECKPOINT and writes nothing: leave them out")
        _check(options.check, options.device)
        return
    if options.checkpoint is None or options.output is None:
        raise DepthFormerError("export needs a CHECKPOINT and the .onnx file to write, or --check")
    if options.output.suffix != ".onnx":
        raise DepthFormerError(f"the output must end in .onnx, got {options.output}")
    # What cannot be written shows before the minutes of work.
    if options.output.is_dir() or not options.output.parent.is_dir():
        there = "it is a folder" if options.output.is_dir() else "there is no such folder"
        raise DepthFormerError(f"cannot write {options.output}: {there}")
    if Path(options.checkpoint).suffix in (".onnx", ".xml", ".plan", ".engine"):
        raise DepthFormerError(f"{options.checkpoint} is exported already: give its checkpoint")
    from depthformer_core.calibration.calibration_file import checkpoint_sha256
    from depthformer_core.export.write import export_network
    from depthformer_core.inference.torch_network import load_model

    model, trained = load_model(options.checkpoint)
    if not trained:
        print(f"{options.checkpoint} has random weights: its depth means nothing", file=sys.stderr)
    done = export_network(
        model,
        options.output,
        checkpoint=Path(options.checkpoint).name,
        weights_sha256=checkpoint_sha256(options.checkpoint) if trained else "",
        size=options.size,
        precision=options.precision,
        verify=options.verify,
        keep_blocks=options.blocks,
        progress=lambda what: print(f"{what} ...", flush=True),
    )
    height, width = done.size
    print(
        f"Wrote {options.output}: {done.bytes / 1e6:.1f} MB, images of {width}x{height}, "
        f"{options.precision}"
    )
    if done.attention_difference is None:
        print("It was not compared with PyTorch")
    else:
        print(f"The attention differs by {done.attention_difference:.2g} of its deviation")
    for comparison in done.comparisons:
        print(f"{comparison.runtime} differs from PyTorch by {comparison.worst}")
    print(f"Use it: depthformer predict --checkpoint {options.output}")
    print(f"Check it on the robot: depthformer export --check {options.output}")


def _check(path: Path, device: str) -> None:
    """Compare a file with what PyTorch computed, and exit with 1 if it differs."""
    from depthformer_core.export.engine import EngineSession, metadata_beside
    from depthformer_core.export.verify import VerificationError, compare
    from depthformer_core.inference.sessions import open_session

    engine = path.suffix in (".plan", ".engine")
    if not engine and path.suffix not in (".onnx", ".xml"):
        raise DepthFormerError(f"--check takes .onnx, .xml, .plan or .engine, got {path}")
    if engine and device not in ("auto", "tensorrt"):
        raise DepthFormerError(f"an engine runs by TensorRT alone, got --device {device}")

    def open_file(names: Sequence[str]) -> "Session":
        if engine:
            return EngineSession(path, metadata_beside(path))
        return open_session(path, device=device, extra_outputs=names)

    comparison = compare(open_file)
    _print_table(comparison)
    if not comparison.agrees:
        raise VerificationError(comparison.describe_failure(str(path)))
    print(f"{path} computes what PyTorch does: {comparison.worst}")


def _print_table(comparison: "Comparison") -> None:
    print(f"{comparison.runtime}, {comparison.precision}")
    print(f"{'image':<12} {'largest':>12} {'mean':>10}")
    for image, metres in comparison.metres.items():
        verdict = "differs" if image in comparison.exceeding else "ok"
        print(f"{image:<12} {metres:>10.5f} m {comparison.shares[image]:>10.4%} {verdict}")
