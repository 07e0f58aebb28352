"""Environments of processes whose Python finds some libraries not to be there."""

import os
from collections.abc import Sequence
from pathlib import Path

PYTORCH = ("safetensors", "timm", "torch", "torchvision")

_BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        root = name.partition(".")[0]
        if root in {blocked}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
"""


def blocking_environment(
    folder: Path, repository: Path, blocked: Sequence[str] = PYTORCH
) -> dict[str, str]:
    """Return an environment whose Python finds none of some libraries.

    Args:
        folder: Folder that gets what blocks them.
        repository: Folder of our packages.
        blocked: The libraries.
    """
    (folder / "sitecustomize.py").write_text(_BLOCKER.format(blocked=tuple(blocked)))
    paths = (str(folder), str(repository), os.environ.get("PYTHONPATH", ""))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths).rstrip(os.pathsep)}
