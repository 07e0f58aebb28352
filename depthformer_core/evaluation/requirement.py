"""Bounds that an evaluation must keep, such as `abs_rel<0.1`."""

import math
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass

from depthformer_core.errors import DepthFormerError

_OPERATORS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_FORM = re.compile(r"\s*(?:(\S+):)?(\w+)\s*(<=|>=|<|>)\s*(\S+)\s*")


@dataclass(frozen=True)
class Requirement:
    """A bound on one number.

    Attributes:
        metric: Name of the number.
        operator: `<`, `<=`, `>` or `>=`.
        bound: The bound.
        source: Name of the source whose number it is; empty for every source.
    """

    metric: str
    operator: str
    bound: float
    source: str = ""

    def __post_init__(self) -> None:
        """Reject invalid operators and bounds."""
        if self.operator not in _OPERATORS:
            raise DepthFormerError(
                f"operator must be one of {', '.join(_OPERATORS)}, got {self.operator!r}"
            )
        if not math.isfinite(self.bound):
            raise DepthFormerError(f"bound must be finite, got {self.bound}")

    def __str__(self) -> str:
        of = f"{self.source}:" if self.source else ""
        return f"{of}{self.metric}{self.operator}{self.bound:g}"

    def holds(self, value: float) -> bool:
        """Return whether a value keeps the bound; NaN, which stands for no value, never does."""
        return bool(_OPERATORS[self.operator](value, self.bound))


def parse_requirement(text: str, *, known: Sequence[str]) -> Requirement:
    """Read a requirement.

    Args:
        text: Such as `abs_rel<0.1` or `a1 >= 0.9`, or `zed:abs_rel<0.1` of one source.
        known: Names that can be required.

    Raises:
        DepthFormerError: The text has another form, or its name is not known.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise DepthFormerError(
            f"a requirement is a name, one of {', '.join(_OPERATORS)}, and a number, "
            f"such as {known[0]}<0.1; got {text!r}"
        )
    source, metric, sign, number = match.groups()
    if metric not in known:
        raise DepthFormerError(
            f"{metric} in the requirement {text!r} is not known; there are {', '.join(known)}"
        )
    try:
        return Requirement(metric, sign, float(number), source or "")
    except ValueError as error:
        raise DepthFormerError(
            f"{number} in the requirement {text!r} must be a finite number"
        ) from error
