"""Results of drives, in a file for each seed."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from depthformer_core.errors import DepthFormerError
from depthformer_core.files import read_json, write_texts
from depthformer_core.studies.closed_loop.drive import Outcome
from depthformer_core.studies.closed_loop.scenario import Kind


@dataclass(frozen=True)
class Result:
    """One drive in one condition.

    Attributes:
        condition: Name of the condition.
        kind: What was in the way.
        outcome: The outcome.
    """

    condition: str
    kind: Kind
    outcome: Outcome


Drives = dict[int, list[Result]]
"""The results of each drive of a seed, by its number."""


def read_results(folder: Path, seed: int, *, checkpoint: str) -> Drives:
    """Read the results of a seed; none where there is no file.

    Raises:
        DepthFormerError: The file cannot be read, or is of another checkpoint.
    """
    path = folder / _name(seed)
    if not path.exists():
        return {}
    content = cast("dict[str, Any]", read_json(path, kind="results"))
    if content.get("checkpoint") != checkpoint:
        raise DepthFormerError(
            f"{path} holds results of the checkpoint {content.get('checkpoint')}, not of "
            f"{checkpoint}: name another output"
        )
    try:
        return {
            int(number): [
                Result(row["condition"], row["kind"], Outcome(**row["outcome"])) for row in rows
            ]
            for number, rows in content["drives"].items()
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DepthFormerError(
            f"{path} holds no results of this command: remove it or name another output"
        ) from error


def write_results(folder: Path, seed: int, drives: Drives, *, checkpoint: str) -> None:
    """Write the results of a seed.

    Raises:
        OSError: The file cannot be written.
    """
    rows = {str(number): [asdict(result) for result in drives[number]] for number in sorted(drives)}
    content = {"checkpoint": checkpoint, "drives": rows}
    write_texts(folder, {_name(seed): json.dumps(content, indent=1) + "\n"})


def _name(seed: int) -> str:
    return f"seed_{seed}.json"
