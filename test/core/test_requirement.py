"""Bounds that an evaluation must keep."""

import math

import pytest

from depthformer_core.evaluation import METRICS
from depthformer_core.evaluation.requirement import Requirement, parse_requirement

KNOWN = (*METRICS, "coverage", "p99")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("abs_rel<0.1", Requirement("abs_rel", "<", 0.1)),
        (" a1 >= 0.9 ", Requirement("a1", ">=", 0.9)),
        ("rmse<=5", Requirement("rmse", "<=", 5.0)),
        ("coverage>1e-1", Requirement("coverage", ">", 0.1)),
        ("p99<-2", Requirement("p99", "<", -2.0)),
    ],
    ids=["below", "spaces", "at most", "exponent", "negative"],
)
def test_requirements_are_read(text: str, expected: Requirement) -> None:
    assert parse_requirement(text, known=KNOWN) == expected


@pytest.mark.parametrize(
    ("sign", "below", "equal", "above"),
    [
        ("<", True, False, False),
        ("<=", True, True, False),
        (">", False, False, True),
        (">=", False, True, True),
    ],
)
def test_bounds_hold(sign: str, *, below: bool, equal: bool, above: bool) -> None:
    requirement = Requirement("abs_rel", sign, 0.1)
    assert [requirement.holds(value) for value in (0.09, 0.1, 0.11)] == [below, equal, above]
    assert not requirement.holds(math.nan)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("abs_rel", r"a requirement is a name, one of <, <=, >, >=.*got 'abs_rel'"),
        ("", r"got ''"),
        ("abs_rel=0.1", r"got 'abs_rel=0.1'"),
        ("abs_rel==0.1", r"got 'abs_rel==0.1'"),
        ("abs rel<0.1", r"got 'abs rel<0.1'"),
        ("absrel<0.1", r"absrel in the requirement 'absrel<0.1' is not known; there are a1, a2"),
        ("abs_rel<ten", r"ten in the requirement 'abs_rel<ten' must be a finite number"),
        ("abs_rel<10%", r"10% in the requirement 'abs_rel<10%' must be a finite number"),
        ("abs_rel<nan", r"nan in the requirement 'abs_rel<nan' must be a finite number"),
        ("abs_rel>inf", r"inf in the requirement 'abs_rel>inf' must be a finite number"),
        ("abs_rel<=>1", r">1 in the requirement 'abs_rel<=>1' must be a finite number"),
    ],
)
def test_what_is_no_requirement_is_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_requirement(text, known=KNOWN)


def test_requirements_are_text_again() -> None:
    assert str(parse_requirement("abs_rel <= 0.10", known=KNOWN)) == "abs_rel<=0.1"


def test_wrong_fields_are_refused() -> None:
    with pytest.raises(ValueError, match="operator must be one of <, <=, >, >=, got '='"):
        Requirement("a1", "=", 1.0)
    with pytest.raises(ValueError, match="bound must be finite, got inf"):
        Requirement("a1", "<", math.inf)
