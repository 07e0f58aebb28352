"""The time that OpenMP's threads wait before they sleep."""

import os
import platform
import subprocess
import sys

import pytest

from depthformer_core.openmp import shorten_waits

X86 = platform.machine() in ("x86_64", "AMD64")


@pytest.mark.skipif(not X86, reason="only on x86 does a spin take long")
def test_openmp_itself_reports_the_shorter_wait() -> None:
    """Set too late, after PyTorch was imported, it would still read the default."""
    names = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(
        [sys.executable, "-c", "import depthformer_core"],
        env=environment | {"OMP_DISPLAY_ENV": "verbose"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    if "GOMP_SPINCOUNT" not in done.stderr:
        pytest.skip("this PyTorch's OpenMP is not GNU's")
    assert "GOMP_SPINCOUNT = '10000'" in done.stderr


@pytest.mark.parametrize("choice", [{"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "active"}])
def test_the_users_choice_stays(choice: dict[str, str]) -> None:
    environment = dict(choice)
    shorten_waits(environment)
    assert environment == choice


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        ("x86_64", {"GOMP_SPINCOUNT": "10000"}),
        ("AMD64", {"GOMP_SPINCOUNT": "10000"}),
        ("aarch64", {}),
    ],
)
def test_spins_are_counted_only_where_each_is_long(
    machine: str, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    environment: dict[str, str] = {}
    shorten_waits(environment)
    assert environment == expected
