"""Waiting time of the threads of PyTorch's OpenMP."""

import os
import platform
from collections.abc import MutableMapping

_SPINS = "GOMP_SPINCOUNT"
_USERS_CHOICES = (_SPINS, "OMP_WAIT_POLICY")
# GNU's default is 300,000, many milliseconds on Intel's processors, where a pause takes 140 cycles:
# idle threads block a core long after a network's last layer.
# So many take half a millisecond, which is still longer than from one layer to the next.
_COUNT = "10000"


def shorten_waits(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let idle threads sleep soon; it has no effect after the import of PyTorch.

    Nothing changes where the user has chosen, nor on processors but x86, where a spin is short.
    """
    chosen = any(name in environment for name in _USERS_CHOICES)
    if not chosen and platform.machine() in ("x86_64", "AMD64"):
        environment[_SPINS] = _COUNT
