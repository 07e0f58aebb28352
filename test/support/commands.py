"""Commands that fail."""

import pytest

from depthformer_core.cli import main  # noqa: TID251  # it is under test


def fail(*arguments: object) -> str:
    """Run `depthformer` and return the one line that it fails with."""
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    assert isinstance(caught.value.code, str), caught.value.code
    assert "\n" not in caught.value.code
    return caught.value.code
