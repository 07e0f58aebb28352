"""What a run writes down about itself, and compares with when it is resumed."""

import contextlib
import dataclasses
import importlib.metadata
import json
import platform
import shutil
import subprocess
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from depthformer_core.training.config import TrainingConfig
from depthformer_core.training.distributed import world_size

# What may differ between the parts of a resumed run, since no loss depends on it.
_FREE = ("output", "resume", "device", "save_every", "skip_nonfinite", "val")
_FREE_DATA = ("root", "workers")


def describe_run(config: TrainingConfig) -> dict[str, Any]:
    """What somebody needs to know to run it again."""
    packages = ("torch", "timm", "numpy", "opencv-python-headless", "depthformer_ros")
    versions = {"python": platform.python_version()}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "config": _plain(config),
        "processes": world_size(),
        "versions": versions,
        "git": _git_revision(),
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def different_options(before: Mapping[str, Any], config: TrainingConfig) -> str:
    """Say how a configuration differs from that of a run that is to be resumed; empty if not.

    Args:
        before: The run's, the `config` of `describe_run`.
        config: The configuration now.
    """

    def flat(values: Mapping[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for name, value in values.items():
            if name in _FREE:
                continue
            if isinstance(value, dict):
                free = _FREE_DATA if name == "data" else ()
                result |= {f"{name}.{key}": v for key, v in value.items() if key not in free}
            else:
                result[name] = value
        return result

    old, new = flat(before), flat(_plain(config))
    return "; ".join(
        f"--{name} {old.get(name)}, now {new.get(name)}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    )


def _plain(config: TrainingConfig) -> dict[str, Any]:
    """Everything of a configuration as JSON gives it back."""
    values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    return values


def _git_revision() -> str | None:
    """Revision of this package's checkout, with `-dirty` if changed; None outside of one."""
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
