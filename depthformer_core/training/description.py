"""Description of a run, written to its folder and compared when the run is resumed."""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import platform
import shutil
import subprocess
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from depthformer_core.data.dataset import DepthDataset
from depthformer_core.data.mixed import MixedDataset, MixedPart
from depthformer_core.distributed import world_size
from depthformer_core.paths import printable
from depthformer_core.training.config import RENAMED_OPTIMIZATION, TrainingConfig

# Options that may differ between the parts of a resumed run, since no loss depends on them.
_FREE = ("output", "resume", "device", "save_every", "keep", "skip_nonfinite", "val")
_FREE_DATA = ("root", "mix", "workers", "cache")


def describe_run(
    config: TrainingConfig, dataset: DepthDataset, *, own: Mapping[str, str]
) -> dict[str, Any]:
    """Describe a run so that it can be repeated.

    Args:
        config: The run.
        dataset: Images it is trained on, which need not be those of `config.data`.
        own: Names of what was given in Python, see `Given.names`.
    """
    packages = ("torch", "timm", "numpy", "opencv-python-headless", "depthformer_ros")
    versions = {"python": platform.python_version()}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "config": _plain(config),
        "data": describe_data(dataset),
        "own": dict(own),
        "processes": world_size(),
        "versions": versions,
        "git": _git_revision(),
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def describe_data(dataset: DepthDataset) -> dict[str, Any]:
    """Describe the training data: name and number of images, and the parts of a mix.

    The names of the images are described by a hash, of a mix by one for each part.
    """
    described: dict[str, Any] = {"name": dataset.name, "images": len(dataset)}
    if not isinstance(dataset, MixedDataset):
        names = "\n".join(map(printable, dataset.files))
        return described | {"files_sha256": hashlib.sha256(names.encode()).hexdigest()}
    described["parts"] = []
    for part in dataset.parts:
        values = describe_data(part.dataset) | {"weight": part.weight}
        if part.entry is not None:
            paths = {"root": part.entry.root, "split": part.entry.split}
            values |= {key: None if path is None else str(path) for key, path in paths.items()}
            values["depth_scale"] = part.entry.depth_scale
        described["parts"].append(values)
    return described


def describe_part(part: MixedPart) -> str:
    """Describe the images of a part of a mix in a pass, for the log."""
    root = None if part.entry is None else part.entry.root
    folder = "" if root is None else f" {printable(root.name)}"
    return f"{part.count} of {part.dataset.name}{folder}"


def different_options(
    before: Mapping[str, Any], now: Mapping[str, Any], *, ignored: Collection[str] = ()
) -> str:
    """Return how a run differs from the one to be resumed; empty if it does not.

    Folders may differ, since data are moved; the names of the images may not.

    Args:
        before: Description of the run to be resumed, from `describe_run`.
        now: Description of this run.
        ignored: Options that may differ too.
    """

    def flat(values: Mapping[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for name, value in values.items():
            if name in _FREE:
                continue
            if isinstance(value, dict):
                free = _FREE_DATA if name == "data" else ()
                names = RENAMED_OPTIMIZATION if name == "optim" else {}
                result |= {
                    f"{name}.{names.get(key, key)}": v
                    for key, v in value.items()
                    if key not in free
                }
            else:
                result[name] = value
        return result

    old, new = flat(before["config"]), flat(now["config"])
    different = [
        f"--{name} {old.get(name)}, now {new.get(name)}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name) and name not in ignored
    ]
    own, own_now = before.get("own", {}), now.get("own", {})
    different += [
        f"{name} {own.get(name, 'of the options')}, now {own_now.get(name, 'of the options')}"
        for name in sorted(own.keys() | own_now.keys())
        if own.get(name) != own_now.get(name)
    ]
    # Older runs do not describe their data.
    if "data" in before:
        different += _different_data(before["data"], now["data"], "training data")
    return "; ".join(different)


def _different_data(before: Mapping[str, Any], now: Mapping[str, Any], what: str) -> Iterator[str]:
    """Yield a phrase for each difference between two descriptions of data."""
    old, new = before.get("parts", []), now.get("parts", [])
    if (before["name"], len(old)) != (now["name"], len(new)):
        yield f"{what}: {_kind(before)}, now {_kind(now)}"
        return
    for key in ("weight", "depth_scale", "images", "files_sha256"):
        # The total of a mix follows from its parts.
        if before.get(key) == now.get(key) or (new and key == "images"):
            continue
        if key != "files_sha256":
            yield f"{what}: {key} {before.get(key)}, now {now.get(key)}"
        elif before["images"] == now["images"]:
            yield f"{what}: images of other names"
    for number, (was, is_) in enumerate(zip(old, new, strict=True), 1):
        yield from _different_data(was, is_, f"dataset {number} of the mix")


def _kind(described: Mapping[str, Any]) -> str:
    """Return the name of a dataset, with its parts' names for a mix."""
    names = ", ".join(part["name"] for part in described.get("parts", []))
    return f"{described['name']} ({names})" if names else str(described["name"])


def _plain(config: TrainingConfig) -> dict[str, Any]:
    """Convert a configuration to JSON values."""
    values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    return values


def _git_revision() -> str | None:
    """Return the git revision of this package, with `-dirty` if changed; None outside git."""
    git = shutil.which("git")
    if git is None:
        return None
    command = [
        git,
        "-C",
        str(Path(__file__).parent),
        "describe",
        "--always",
        "--dirty",
        "--abbrev=40",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.strip() or None
