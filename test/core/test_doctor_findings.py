"""The page that `depthformer doctor` prints."""

from depthformer_core.doctor import summary
from depthformer_core.doctor.finding import ok, problem, warning


def test_a_finding_is_a_few_lines() -> None:
    assert str(ok("GPU", "none")) == "[ok]      GPU: none"
    lines = str(problem("images", "none", cause="no camera", advice="get one")).splitlines()
    assert lines == [
        "[problem] images: none",
        "            why: no camera",
        "            do:  get one",
    ]
    assert str(warning("x", "y", advice="z")).splitlines()[1] == "            do:  z"


def test_summary_counts() -> None:
    assert summary([]) == "0 problems, 0 warnings"
    findings = [ok("a", ""), problem("b", ""), warning("c", ""), warning("d", "")]
    assert summary(findings) == "1 problem, 2 warnings"
