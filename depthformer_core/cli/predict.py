"""`depthformer predict`."""

import glob
import math
import os
import stat
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from tqdm import tqdm

from depthformer_core.config import Crop, Focal
from depthformer_core.data.images import read_photo, read_rgb, write_depth_png, write_png
from depthformer_core.data.ply import write_ply
from depthformer_core.errors import DepthFormerError
from depthformer_core.files import replacing
from depthformer_core.geometry.camera import Camera
from depthformer_core.inference.rotate import Rotation
from depthformer_core.paths import absolute, listed
from depthformer_core.visualize import colorize

_IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
# Nearest depth of a picture's colour scale, metres.
_NEAR = 1.0

# What is said about the first photo that is to be turned: with --intrinsics, and without.
_TURNED = (
    "{} is to be turned, as its EXIF data says, and is not: --intrinsics holds for images as they "
    "are stored. So are all others.",
    "{} is turned upright, as its EXIF data says, and so are all others that are to be.",
)

DepthScale = Literal["millimetres", "kitti"]
_SCALES: dict[DepthScale, float] = {"millimetres": 1000.0, "kitti": 256.0}


@dataclass(frozen=True)
class PredictOptions:
    """Estimate the depth of images.

    Writes, for each image, NAME_depth.png (16 bit), NAME_depth.npy (float32 metres, NaN where
    there is no estimate) and NAME_color.png. Images from several folders keep their folders.
    Photos that say so (EXIF) are turned upright, unless --intrinsics describes them as stored.
    """

    images: tyro.conf.Positional[tuple[str, ...]]
    """Images, folders of images, or glob patterns in quotes."""
    output: Path
    """Folder that is written to."""
    checkpoint: str = "small"
    """A safetensors file, one of the official release, or an exported network (.onnx); small, or
    small_kitti for streets like KITTI's, for weights that come with the package; or another
    preset's name (random weights)."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N; of an exported network tensorrt or openvino too."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the computation."""
    crop: Literal["auto"] | Crop = "auto"
    """Part of the image that is read: the bottom 352 rows and middle 1216 columns (kitti), what
    lies in the field of view of the training images (view), all (none), or the network's own
    (auto)."""
    focal: Focal = "resize"
    """Handling of images of another focal length than the network's: resize them, scale the
    depth, or none."""
    flip: bool = False
    """Average with the prediction of the mirrored image."""
    rotate: Rotation = 0
    """Degrees clockwise by which images become upright, of a camera that is mounted upside down or
    sideways; depth is that of the images as they are."""
    calibration: Path | None = None
    """File of `depthformer calibrate`, which corrects the depth; needs the --intrinsics of its
    camera."""
    depth_png: DepthScale = "millimetres"
    """Unit of the 16-bit PNG: millimetres, or KITTI's metres * 256. 0 means no value."""
    ply: bool = False
    """Also write NAME.ply, a coloured point cloud; needs --intrinsics."""
    intrinsics: tuple[float, float, float, float] | None = None
    """fx fy cx cy of the images as they are stored, pixels; without, they are taken to be as wide
    as those the network was trained on."""


def predict(options: PredictOptions) -> None:
    """Run `depthformer predict`."""
    from depthformer_core.inference.predictor import DepthPredictor

    images = find_images(options.images)
    if options.ply and options.intrinsics is None:
        raise DepthFormerError("--ply needs the camera: give --intrinsics FX FY CX CY, in pixels")
    if options.calibration is not None and options.intrinsics is None:
        raise DepthFormerError(
            "--calibration is for one camera: give its --intrinsics FX FY CX CY, in pixels"
        )
    common = Path(os.path.commonpath([path.parent for path in images]))
    places = [options.output / path.relative_to(common).with_suffix("") for path in images]
    endings = ("_depth.png", "_depth.npy", "_color.png", *[".ply"] * options.ply)
    _prepare(Path(f"{place}{ending}") for place in places for ending in endings)
    predictor = DepthPredictor.from_checkpoint(
        options.checkpoint,
        device=options.device,
        precision=options.precision,
        crop=options.crop,
        focal=options.focal,
        flip=options.flip,
        rotate=options.rotate,
        calibration=options.calibration,
    )
    if not predictor.trained:
        print(
            f"Preset {options.checkpoint} has random weights: its depth means nothing. "
            "Give --checkpoint FILE.safetensors for real depth.",
            file=sys.stderr,
        )
    if predictor.note:
        print(predictor.note, file=sys.stderr)
    known, width = predictor.config.focal_length, predictor.config.image_width
    if options.intrinsics is None and predictor.focal != "none" and known and width:
        degrees = math.degrees(2 * math.atan(width / 2 / known))
        print(
            f"Taking the images to be {degrees:.0f} degrees wide, as those the network was trained "
            "on; --intrinsics FX FY CX CY is for their real camera.",
            file=sys.stderr,
        )
    warned = warned_of_turn = False
    for path, place in zip(
        tqdm(images, unit="image", disable=len(images) == 1), places, strict=True
    ):
        rgb, turned = read_photo(path)
        camera = None
        if options.intrinsics is not None:
            rgb = read_rgb(path) if turned else rgb
            camera = Camera(rgb.shape[1], rgb.shape[0], *options.intrinsics)
        if turned and not warned_of_turn:
            warned_of_turn = True
            print(_TURNED[camera is None].format(path.name), file=sys.stderr)
        prediction = predictor.predict(rgb, camera)
        outside = 1 - float(prediction.valid.mean())
        if predictor.crop == "view" and outside > 0 and not warned:
            warned = True
            print(
                f"{outside:.0%} of {path.name} gets no depth: it lies outside the field of view of "
                "the images the network was trained on. --crop none guesses there too, and is "
                "worse everywhere.",
                file=sys.stderr,
            )
        depth = prediction.depth
        write_depth_png(f"{place}_depth.png", depth, scale=_SCALES[options.depth_png])
        with replacing(f"{place}_depth.npy") as temporary:
            np.save(temporary, depth)
        color = colorize(depth, near=_NEAR, far=predictor.max_depth)
        write_png(f"{place}_color.png", color)
        if options.ply and camera is not None:
            write_ply(f"{place}.ply", camera.unproject(depth), rgb)
    print(f"Wrote the depth of {len(images)} images to {options.output}")


def find_images(patterns: tuple[str, ...]) -> list[Path]:
    """Find image files, folders of images and glob patterns, each folder in sorted order.

    Hidden files of folders are passed over. Images that are links keep the links' names and places:
    git-annex, DVC and caches have the images elsewhere, under names that say nothing.

    Raises:
        DepthFormerError: A pattern matches no image, a link leads nowhere, or two images would be
            written to one name.
    """
    if not patterns:
        raise DepthFormerError("name images, folders of images, or glob patterns in quotes")
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern)
        if path.is_dir():
            matches = [entry for entry in listed(path) if _is_image(entry)]
        elif path.exists() or path.is_symlink():
            _follow(path)
            matches = [path]
        else:
            matches = [Path(name) for name in sorted(glob.glob(pattern)) if _is_image(Path(name))]  # noqa: PTH207  # absolute patterns too
        if not matches:
            raise DepthFormerError(f"no image at {pattern}")
        found.update((absolute(match), None) for match in matches)
    outputs: dict[Path, Path] = {}
    for image in found:
        other = outputs.setdefault(image.with_suffix(""), image)
        if other != image:
            raise DepthFormerError(f"{other} and {image} would be written to the same names")
    return list(found)


def _is_image(path: Path) -> bool:
    if path.suffix.lower() not in _IMAGE_SUFFIXES:
        return False
    _follow(path)
    return path.is_file()


def _follow(path: Path) -> None:
    """Refuse a link to nothing, or in a circle."""
    if path.is_symlink() and not path.exists():
        raise DepthFormerError(f"{path} is a link that leads nowhere: to {path.readlink()}")


def _prepare(paths: Iterable[Path]) -> None:
    """Make the folders of files to be written; what cannot be written shows before the work."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            continue
        except OSError as error:  # the name is too long, or one that the file system does not take
            raise DepthFormerError(f"cannot write {path}: {error.strerror}") from error
        if stat.S_ISDIR(mode):
            raise DepthFormerError(f"cannot write {path}: it is a folder")
