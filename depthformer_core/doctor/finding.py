"""What a check found, and how it is shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        level: How bad it is.
        subject: What was checked.
        found: What is the case, with its values.
        cause: What it comes of or leads to, where that needs saying.
        advice: What to do about it.
    """

    level: Level
    subject: str
    found: str
    cause: str = ""
    advice: str = ""

    def __str__(self) -> str:
        text = f"{f'[{self.level.value}]':<10}{self.subject}: {self.found}"
        for word, more in (("why", self.cause), ("do", self.advice)):
            if more:
                text += f"\n{'':<12}{f'{word}:':<5}{more}"
        return text


def ok(subject: str, found: str) -> Finding:
    """Find that all is well."""
    return Finding(Level.OK, subject, found)


def warning(subject: str, found: str, *, cause: str = "", advice: str = "") -> Finding:
    """Find what may be meant that way."""
    return Finding(Level.WARNING, subject, found, cause, advice)


def problem(subject: str, found: str, *, cause: str = "", advice: str = "") -> Finding:
    """Find what keeps depth from being shown."""
    return Finding(Level.PROBLEM, subject, found, cause, advice)


def summary(findings: Sequence[Finding]) -> str:
    """Count what is not well, in words."""

    def count(level: Level, word: str) -> str:
        number = sum(finding.level is level for finding in findings)
        return f"{number} {word}{'' if number == 1 else 's'}"

    return f"{count(Level.PROBLEM, 'problem')}, {count(Level.WARNING, 'warning')}"
