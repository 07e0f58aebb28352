"""Description of a run, and options by the names of an earlier version."""

import pytest

from depthformer_core.cli import _rename
from depthformer_core.cli.train import RENAMED
from depthformer_core.training.description import different_options


def test_a_run_of_an_earlier_version_is_resumed() -> None:
    before = {"config": {"optim": {"average": 0.9, "clip": 35.0, "accumulation": 1, "lr": 1e-4}}}
    now = {
        "config": {
            "optim": {
                "ema_decay": 0.9,
                "max_grad_norm": 35.0,
                "grad_accumulation_steps": 1,
                "lr": 1e-4,
            }
        }
    }
    assert different_options(before, now) == ""
    now["config"]["optim"]["ema_decay"] = 0.99
    assert different_options(before, now) == "--optim.ema_decay 0.9, now 0.99"


def test_options_by_their_old_names(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["small", "--optim.average", "0.9", "--optim.clip=5", "--optim.lr", "1"]
    expected = ["small", "--optim.ema-decay", "0.9", "--optim.max-grad-norm=5", "--optim.lr", "1"]
    assert _rename(given, RENAMED) == expected
    assert capsys.readouterr().err.splitlines() == [
        "depthformer: --optim.average is called --optim.ema-decay now",
        "depthformer: --optim.clip is called --optim.max-grad-norm now",
    ]
