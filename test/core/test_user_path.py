from pathlib import Path

import pytest

from depthformer_core.user_path import user_path


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        pytest.param("~/drive", "/home/eye/drive", id="home"),
        pytest.param("drive", "{here}/drive", id="relative"),
        pytest.param("/drive", "/drive", id="absolute"),
        pytest.param("~nobody-of-this-name/drive", "{here}/~nobody-of-this-name/drive", id="name"),
    ],
)
def test_user_path(given: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/eye")
    monkeypatch.chdir(tmp_path)
    assert user_path(given) == Path(meant.format(here=tmp_path))
