"""A run, repeated from its description."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from depthformer_core.config import DepthFormerConfig
from depthformer_core.errors import DepthFormerError
from depthformer_core.files import read_json
from depthformer_core.training.config import RENAMED_OPTIMIZATION, Optimization, TrainingConfig
from depthformer_core.training.description import different_options

T = TypeVar("T")


def read_description(path: Path) -> dict[str, Any]:
    """Read the description that a run wrote, `run.json`.

    Raises:
        DepthFormerError: The file cannot be read or describes no run.
    """
    description: dict[str, Any] = dict(read_json(path, kind="description"))
    if not isinstance(description.get("config"), dict):
        raise DepthFormerError(f"{path} describes no run: it has no config")
    history = description.get("lengthened", [])
    # Older runs do not describe their data.
    data = description.get("data", {"name": "", "images": 0})
    parts = {
        "config.optim": isinstance(description["config"].get("optim"), dict),
        "own": isinstance(description.get("own", {}), dict),
        "data": isinstance(data, dict) and data.keys() >= {"name", "images"},
        "lengthened": isinstance(history, list)
        and all(isinstance(one, dict) and one.keys() >= {"after", "from", "to"} for one in history),
    }
    for name, whole in parts.items():
        if not whole:
            raise DepthFormerError(f"{path} describes no run: its {name} is not as a run writes it")
    return description


def read_config(path: Path) -> TrainingConfig:
    """Read the configuration of a run from its description, `run.json`, to repeat it.

    Options that did not exist when it was written have their defaults.

    Raises:
        DepthFormerError: The file cannot be read or describes no run, or an option has a value
            that it cannot have; the message names it.
    """
    values = read_description(path)["config"]
    try:
        # The run goes on with the options it had, in another folder.
        return dataclasses.replace(_build(TrainingConfig, values, ""), resume=False)
    except (DepthFormerError, TypeError) as error:
        raise DepthFormerError(f"{path}: {error}") from error


def describe_repetition(path: Path, now: Mapping[str, Any]) -> str:
    """Describe in a sentence how a run differs from the one that it repeats.

    Args:
        path: Description of the run that is repeated.
        now: Description of this run, from `describe_run`.

    Raises:
        DepthFormerError: The file cannot be read, or that run had a loss or an augmentation of its
            own and this one has none.
    """
    before = read_description(path)
    own = before.get("own", {})
    if lacking := sorted(own.keys() - now["own"].keys()):
        names = ", ".join(f"{key}={own[key]}" for key in lacking)
        raise DepthFormerError(
            f"{path} is of a run that was given {names} in Python: repeat it there, by "
            "train(read_config(...), ...)"
        )
    different = [text] if (text := different_options(before, now)) else []
    for name in ("processes", "versions"):
        if before.get(name) != now[name]:
            different.append(f"{name} {_shown(before.get(name))}, now {_shown(now[name])}")
    for change in before.get("lengthened", []):
        different.append(
            f"it was lengthened from {change['from']} iterations after {change['after']}, this one "
            "has its final learning rates from the start"
        )
    return f"repeats {path}" + (f"; what differs: {'; '.join(different)}" if different else "")


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {one}" for key, one in value.items())
    return str(value)


def _build(kind: type[T], values: object, where: str) -> T:
    """Build a dataclass from JSON values."""
    if not isinstance(values, dict):
        raise DepthFormerError(f"{where or 'config'} must be an object, got {values!r}")
    if kind is DepthFormerConfig:
        return typing.cast(T, DepthFormerConfig.from_dict(values))
    if kind is Optimization:
        values = {RENAMED_OPTIMIZATION.get(key, key): value for key, value in values.items()}
    hints: dict[str, Any] = typing.get_type_hints(kind)
    if unknown := sorted(values.keys() - hints.keys()):
        raise DepthFormerError(f"unknown option {_join(where, unknown[0])}")
    arguments = {
        str(name): _value(hints[str(name)], value, _join(where, str(name)))
        for name, value in values.items()
    }
    return kind(**arguments)


def _value(hint: Any, value: object, where: str) -> Any:
    """Convert a JSON value to the type of an option."""
    for kind in _alternatives(hint):
        origin, parts = typing.get_origin(kind), typing.get_args(kind)
        if dataclasses.is_dataclass(kind):
            return _build(typing.cast(type, kind), value, where)
        if origin is Literal and value in parts:
            return value
        if origin is tuple and isinstance(value, list) and len(value) == len(parts):
            return tuple(_value(part, one, where) for part, one in zip(parts, value, strict=True))
        if kind is Path and isinstance(value, str):
            return Path(value)
        # A whole number stands for a float too; a bool stands for no number.
        if kind is float and type(value) is int:
            return float(value)
        if isinstance(kind, type) and type(value) is kind:
            return value
    raise DepthFormerError(f"option {where} has a wrong value: {value!r}")


def _alternatives(hint: Any) -> tuple[Any, ...]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return tuple(one for part in typing.get_args(hint) for one in _alternatives(part))
    return (hint,)


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
