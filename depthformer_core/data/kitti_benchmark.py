"""KITTI's depth prediction benchmark: training, validation and test frames."""

from pathlib import Path

from depthformer_core.data.dataset import (
    DatasetError,
    DepthDataset,
    Intrinsics,
    Source,
    list_pictures,
    read_intrinsics,
)
from depthformer_core.data.kitti_depth import (
    KITTI_DEPTH,
    annotated_frames,
    annotated_split,
    find_image,
)
from depthformer_core.data.split import read_split
from depthformer_core.paths import find_file

_NAME = "kitti_benchmark"
_VALIDATION = ("val_selection_cropped", "depth_selection/val_selection_cropped")
# Folders of images, each with the folder of its cameras; the release has two names for the last.
_SELECTION = "test_depth_prediction_anonymous"
_TEST = (
    (f"{_SELECTION}/image", f"{_SELECTION}/intrinsics"),
    (f"depth_selection/{_SELECTION}/image", f"depth_selection/{_SELECTION}/intrinsics"),
    ("benchmark_test", "benchmark_cam"),
    ("benchmark_test", "benchmark_test_cam"),
)


def open_kitti_benchmark(root: Path, *, part: str, split: Path | None) -> DepthDataset:
    """Open frames of the benchmark.

    Args:
        root: For `train`, raw drives and annotated depth as for KITTI Eigen. For `val`, holds
            `val_selection_cropped` of KITTI's selection, for `test` its
            `test_depth_prediction_anonymous` (each also in `depth_selection`) or the official
            release's `benchmark_test` and `benchmark_cam`.
        part: `train` takes both colour cameras; `test` has no depth.
        split: Frames to use: for `train` and `val` raw images and annotated depth, for `test`
            names of images; none for every frame of the part.

    Raises:
        DatasetError: There is no such frame, a file of a frame is missing or malformed, or the
            split cannot be read or names a missing file.
    """
    if part == "test":
        return DepthDataset(_test(root, split), name=_NAME, depth_format=None)
    if split is not None:
        sources = annotated_split(root, split)
    elif part == "train":
        sources = annotated_frames(root, part=part, cameras=("image_02", "image_03"))
    else:
        sources = _validation(root)
    return DepthDataset(sources, name=_NAME, depth_format=KITTI_DEPTH)


def _validation(root: Path) -> list[Source]:
    for folder in (root / name for name in _VALIDATION):
        if images := list_pictures(folder / "image"):
            break
    else:
        raise DatasetError(
            f"no KITTI validation images under {root}: "
            f"looked for {' and '.join(f'{name}/image' for name in _VALIDATION)}"
        )
    sources = []
    for stem, image in images.items():
        name = f"{stem}.png".replace("_image_", "_groundtruth_depth_", 1)
        wanted = folder / "groundtruth_depth" / name
        depth = find_file(wanted)
        if depth is None:
            raise DatasetError(f"image {image} has no depth {wanted}")
        sources.append(Source(image.name, image, depth, _intrinsics(folder / "intrinsics", stem)))
    return sources


def _test(root: Path, split: Path | None) -> list[Source]:
    found = [(root / images, root / cameras) for images, cameras in _TEST]
    found = [(images, cameras) for images, cameras in found if list_pictures(images)]
    if not found:
        raise DatasetError(
            f"no KITTI test images under {root}: "
            f"looked for {', '.join(dict.fromkeys(images for images, _ in _TEST))}"
        )
    folder, cameras = next((pair for pair in found if pair[1].is_dir()), found[0])
    paths = list(list_pictures(folder).values())
    if split is not None:
        paths = [find_image(line, [folder])[0] for line in read_split(split, depth=False)]
    return [
        Source(path.relative_to(folder).as_posix(), path, None, _intrinsics(cameras, path.stem))
        for path in paths
    ]


def _intrinsics(folder: Path, stem: str) -> Intrinsics | None:
    if not folder.is_dir():
        return None
    path = folder / f"{stem}.txt"
    return read_intrinsics(find_file(path) or path)
