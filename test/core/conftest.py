"""Fixtures of the tests of depthformer_core."""

from collections.abc import Callable

import pytest

from depthformer_core.doctor import Finding, Level


@pytest.fixture(scope="session")
def check_findings() -> Callable[[list[Finding], dict[str, tuple[Level, str, str]]], None]:
    """Compares what is not well: level, part of what was found, part of cause or advice."""

    def check(findings: list[Finding], expected: dict[str, tuple[Level, str, str]]) -> None:
        bad = {finding.subject: finding for finding in findings if finding.level is not Level.OK}
        assert bad.keys() == expected.keys(), "\n".join(map(str, findings))
        for subject, (level, found, help_) in expected.items():
            finding = bad[subject]
            assert finding.level is level, finding
            assert found in finding.found
            assert help_ in f"{finding.cause}\n{finding.advice}"

    return check
