"""The command `depthformer`."""

import glob
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
from tqdm import tqdm

from depthformer_core import benchmark as benchmarking
from depthformer_core.camera import Camera
from depthformer_core.checkpoint import (
    convert_official_state_dict,
    read_official_checkpoint,
    save_checkpoint,
)
from depthformer_core.config import Crop
from depthformer_core.data.images import read_rgb, write_depth_png, write_png
from depthformer_core.data.kitti import drive_to_bag
from depthformer_core.data.ply import write_ply
from depthformer_core.demo import run_demo
from depthformer_core.files import replacing
from depthformer_core.models import create_model
from depthformer_core.predictor import DepthPredictor
from depthformer_core.presets import PRESETS
from depthformer_core.visualize import colorize

_IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
# Nearest depth of a picture's colour scale, metres.
_NEAR = 1.0

DepthScale = Literal["millimetres", "kitti"]
_SCALES: dict[DepthScale, float] = {"millimetres": 1000.0, "kitti": 256.0}


@dataclass(frozen=True)
class PredictOptions:
    """Estimate the depth of images.

    Writes, for each image, NAME_depth.png (16 bit), NAME_depth.npy (float32 metres, NaN where
    there is no estimate) and NAME_color.png. Images from several folders keep their folders.
    """

    images: tyro.conf.Positional[tuple[str, ...]]
    """Images, folders of images, or glob patterns in quotes."""
    output: Path
    """Folder that is written to."""
    checkpoint: str = "small"
    """A safetensors file, or a preset's name (random weights)."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """What the network computes in."""
    crop: Literal["auto", "kitti", "none"] = "auto"
    """Part of the image that is read; auto is what the network was trained on."""
    flip: bool = False
    """Average with the prediction of the mirrored image."""
    depth_png: DepthScale = "millimetres"
    """Unit of the 16-bit PNG: millimetres, or KITTI's metres * 256. 0 means no value."""
    ply: bool = False
    """Also write NAME.ply, a coloured point cloud; needs --intrinsics."""
    intrinsics: tuple[float, float, float, float] | None = None
    """fx fy cx cy of the images, pixels."""


@dataclass(frozen=True)
class ConvertOptions:
    """Turn a checkpoint of the official release into a safetensors file."""

    official: tyro.conf.Positional[Path]
    """The release's .pth file. Its weights are read; pickled code in it is refused."""
    output: tyro.conf.Positional[Path]
    """The safetensors file to write, with the configuration inside."""
    preset: str
    """The network it holds: swin_large_kitti, swin_large_nyu, swin_tiny_nyu, ..."""


@dataclass(frozen=True)
class KittiBagOptions:
    """Turn a KITTI raw drive into a ROS 2 bag: images, camera_info, scans and /tf_static."""

    drive: tyro.conf.Positional[Path]
    """Folder such as 2011_09_26/2011_09_26_drive_0005_sync, with the calibration beside it."""
    bag: tyro.conf.Positional[Path]
    """The bag to write: a folder that does not exist yet."""
    storage: Literal["mcap", "sqlite3"] = "mcap"
    """Format of the bag."""


@dataclass(frozen=True)
class BenchmarkOptions:
    """Measure time and memory of networks, beside grid_sample attention in the same run."""

    presets: tyro.conf.Positional[tuple[str, ...]] = ("swin_large_kitti",)
    """Presets to measure, with random weights."""
    size: tuple[int, int] = (352, 1216)
    """Height and width of the image, pixels."""
    runs: int = 5
    """Counted runs, after one that is not counted."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """What the network computes in."""
    output: Path | None = None
    """JSON file to write the figures to."""


@dataclass(frozen=True)
class DemoOptions:
    """Play a street through the running node, and keep pictures and a report."""

    output: Path = field(default_factory=lambda: Path("demo"))
    """Folder that is replaced by the result."""
    drive: Path | None = None
    """A KITTI raw drive to play; a generated street without."""
    checkpoint: str = "small"
    """A safetensors file, or a preset's name (random weights)."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""


def predict(options: PredictOptions) -> None:
    """Run `depthformer predict`."""
    images = find_images(options.images)
    if options.ply and options.intrinsics is None:
        raise ValueError("--ply needs the camera: give --intrinsics FX FY CX CY, in pixels")
    crop: Crop | None = None if options.crop == "auto" else options.crop
    predictor = DepthPredictor.from_checkpoint(
        options.checkpoint,
        device=options.device,
        precision=options.precision,
        crop=crop,
        flip=options.flip,
    )
    if not predictor.trained:
        print(
            f"Preset {options.checkpoint} has random weights: its depth means nothing. "
            "Give --checkpoint FILE.safetensors for real depth.",
            file=sys.stderr,
        )
    common = Path(os.path.commonpath([path.parent for path in images]))
    for path in tqdm(images, unit="image", disable=len(images) == 1):
        rgb = read_rgb(path)
        prediction = predictor.predict(rgb)
        folder = options.output / path.parent.relative_to(common)
        folder.mkdir(parents=True, exist_ok=True)
        depth = prediction.depth
        write_depth_png(folder / f"{path.stem}_depth.png", depth, scale=_SCALES[options.depth_png])
        with replacing(folder / f"{path.stem}_depth.npy") as temporary:
            np.save(temporary, depth)
        color = colorize(depth, near=_NEAR, far=predictor.config.max_depth)
        write_png(folder / f"{path.stem}_color.png", color)
        if options.ply and options.intrinsics is not None:
            camera = Camera(rgb.shape[1], rgb.shape[0], *options.intrinsics)
            write_ply(folder / f"{path.stem}.ply", camera.unproject(depth), rgb)
    print(f"Wrote the depth of {len(images)} images to {options.output}")


def find_images(patterns: tuple[str, ...]) -> list[Path]:
    """Resolve image files, folders of images and glob patterns, each folder in sorted order.

    Raises:
        ValueError: A pattern matches no image, or two images would be written to one name.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern)
        if path.is_dir():
            matches = [entry for entry in sorted(path.iterdir()) if _is_image(entry)]
        elif path.exists():
            matches = [path]
        else:
            matches = [Path(name) for name in sorted(glob.glob(pattern)) if _is_image(Path(name))]  # noqa: PTH207  # absolute patterns too
        if not matches:
            raise ValueError(f"no image at {pattern}")
        found.update((match.resolve(), None) for match in matches)
    outputs: dict[Path, Path] = {}
    for image in found:
        other = outputs.setdefault(image.with_suffix(""), image)
        if other != image:
            raise ValueError(f"{other} and {image} would be written to the same names")
    return list(found)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in _IMAGE_SUFFIXES and path.is_file()


def convert(options: ConvertOptions) -> None:
    """Run `depthformer convert`."""
    if options.output.suffix != ".safetensors":
        raise ValueError(f"the output must end in .safetensors, got {options.output}")
    model = create_model(options.preset)
    official = read_official_checkpoint(options.official)
    model.load_state_dict(convert_official_state_dict(official, model), strict=True)
    save_checkpoint(options.output, model)
    count = sum(parameter.numel() for parameter in model.parameters())
    print(f"Wrote {options.output}: {options.preset}, {count / 1e6:.1f} M parameters")


def kitti_bag(options: KittiBagOptions) -> None:
    """Run `depthformer kitti-bag`."""
    drive_to_bag(options.drive, options.bag, storage=options.storage, progress=True)
    print(f"Wrote {options.bag}")


def benchmark(options: BenchmarkOptions) -> None:
    """Run `depthformer benchmark`."""
    for preset in options.presets:
        if preset not in PRESETS:
            raise ValueError(f"no preset {preset!r}; there are: {', '.join(PRESETS)}")
    height, width = options.size
    results = benchmarking.run_benchmark(
        list(options.presets),
        height=height,
        width=width,
        runs=options.runs,
        device=options.device,
        precision=options.precision,
    )
    for name, value in benchmarking.machine().items():
        print(f"{name}: {value}")
    print(f"image: {height}x{width}, {options.runs} runs\n")
    print(benchmarking.format_table(results))
    if options.output is not None:
        with replacing(options.output) as temporary:
            temporary.write_text(benchmarking.to_json(results, height=height, width=width))


def demo(options: DemoOptions) -> None:
    """Run `depthformer demo`."""
    report = run_demo(
        output=options.output,
        drive=options.drive,
        checkpoint=options.checkpoint,
        device=options.device,
    )
    print(json.dumps(report, indent=2))


_COMMANDS: dict[str, tuple[type, Callable[[Any], None]]] = {
    "predict": (PredictOptions, predict),
    "convert": (ConvertOptions, convert),
    "kitti-bag": (KittiBagOptions, kitti_bag),
    "benchmark": (BenchmarkOptions, benchmark),
    "demo": (DemoOptions, demo),
}


def main(args: Sequence[str] | None = None) -> None:
    """Run a command; a failure is one line and exit code 1.

    Args:
        args: Words of the command line; None for the process's own.
    """
    options = tyro.extras.subcommand_cli_from_dict(
        {name: kind for name, (kind, _) in _COMMANDS.items()},
        prog="depthformer",
        description="Metric depth from one camera image, by DepthFormer.",
        args=args,
    )
    run = next(run for kind, run in _COMMANDS.values() if type(options) is kind)
    try:
        run(options)
    except (ValueError, OSError) as error:
        sys.exit(f"depthformer: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
