"""Findings of checks."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """Severity of a finding."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        level: Severity.
        subject: What was checked.
        found: Observation, with its values.
        cause: Cause or consequence; empty where it is obvious.
        advice: Advice to the user.
    """

    level: Level
    subject: str
    found: str
    cause: str = ""
    advice: str = ""

    def __str__(self) -> str:
        text = f"{f'[{self.level.value}]':<10}{self.subject}: {self.found}"
        for label, more in (("why", self.cause), ("do", self.advice)):
            if more:
                text += f"\n{'':<12}{f'{label}:':<5}{more}"
        return text


def ok(subject: str, found: str) -> Finding:
    """Make a finding of a check that passed."""
    return Finding(Level.OK, subject, found)


def warning(subject: str, found: str, *, cause: str = "", advice: str = "") -> Finding:
    """Make a finding of something that may be intended."""
    return Finding(Level.WARNING, subject, found, cause, advice)


def problem(subject: str, found: str, *, cause: str = "", advice: str = "") -> Finding:
    """Make a finding of something that prevents depth."""
    return Finding(Level.PROBLEM, subject, found, cause, advice)


def summary(findings: Sequence[Finding]) -> str:
    """Summarise the number of problems and warnings."""

    def count(level: Level, noun: str) -> str:
        number = sum(finding.level is level for finding in findings)
        return f"{number} {noun}{'' if number == 1 else 's'}"

    return f"{count(Level.PROBLEM, 'problem')}, {count(Level.WARNING, 'warning')}"
