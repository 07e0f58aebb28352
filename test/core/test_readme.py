"""The README's promises are true."""

import re
import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest


def test_first_example_runs(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (repository / "README.md").read_text()
    example = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert example is not None
    script = tmp_path / "example.py"
    script.write_text(example[1])
    picture = np.random.default_rng(0).integers(0, 256, (375, 1242, 3), dtype=np.uint8)
    assert cv2.imwrite(str(tmp_path / "street.png"), picture)
    monkeypatch.chdir(tmp_path)
    results = runpy.run_path(str(script))
    assert results["prediction"].depth.shape == (375, 1242)


def test_links_and_commands_exist(repository: Path) -> None:
    cli = (repository / "depthformer_core" / "cli" / "__init__.py").read_text()
    for document in [repository / "README.md", *(repository / "docs").glob("*.md")]:
        text = document.read_text()
        for target in re.findall(r"\]\(([^)#]+)", text):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name}: {target}"
        for command in re.findall(r"^(?:\.venv/bin/)?depthformer ([a-z][a-z-]*)", text, re.M):
            assert f'"{command}": ' in cli, f"{document.name}: depthformer {command}"
